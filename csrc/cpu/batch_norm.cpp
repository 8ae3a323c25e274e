// Batch norm with the statistics of the batch, leaky ReLU and dropout on the CPU: two passes over memory forward, one
// for the statistics, and two backward, one for the sums that the gradients need. What lies between them is computed
// again instead of kept.
#include "args/batch_norm.h"

#include <cmath>
#include <utility>
#include <vector>

#include "cpu/chunks.h"
#include "cpu/dispatch.h"
#include "cpu/dropout_bits.h"
#include "cpu/vec.h"
#include "math/batch_norm.h"

namespace amgan::cpu::CPU_CAPABILITY {
namespace {

// A number for every channel, and those of the first ones again after the last: a vector may begin at any channel, and
// a second one follow it.
template <typename T>
class ByChannel {
 public:
  explicit ByChannel(int64_t channels) : channels_(channels), values_(channels + kAhead) {}

  template <typename F>
  ByChannel(int64_t channels, const F& of) : ByChannel(channels) {
    for (int64_t channel = 0; channel < channels; ++channel) set(channel, of(channel));
  }

  void set(int64_t channel, double value) {
    for (int64_t k = channel; k < channels_ + kAhead; k += channels_) values_[k] = static_cast<T>(value);
  }

  T operator[](int64_t channel) const { return values_[channel]; }
  Vec<T> at(int64_t channel) const { return Vec<T>::loadu(values_.data() + channel); }

  void add(int64_t channel, const Vec<T>& value) { (at(channel) + value).store(values_.data() + channel); }

  // Moves what was added to these totals.
  void move_to(double* totals) {
    for (int64_t k = channels_ + kAhead - 1; k >= channels_; --k) values_[k - channels_] += values_[k];
    for (int64_t channel = 0; channel < channels_; ++channel) totals[channel] += values_[channel];
    std::fill(values_.begin(), values_.end(), T(0));
  }

 private:
  static constexpr int64_t kAhead = 2 * Vec<T>::size();
  int64_t channels_;
  std::vector<T> values_;
};

// Walks through the channels of consecutive elements.
class Channel {
 public:
  Channel(int64_t element, int64_t channels) : channels_(channels), at_(element % channels) {}

  operator int64_t() const { return at_; }

  void advance(int64_t step) {
    at_ += step;
    if (at_ >= channels_) at_ = step < channels_ ? at_ - channels_ : at_ % channels_;
  }

 private:
  int64_t channels_;
  int64_t at_;
};

// Two sums for every channel.
struct Sums {
  std::vector<double> first, second;

  explicit Sums(int64_t channels) : first(channels), second(channels) {}
};

template <typename scalar_t, bool kDropout>
class BatchNorm {
 public:
  using T = Computing<scalar_t>;

  explicit BatchNorm(const BatchNormArgs& args)
      : args_(args),
        rows_(args.rows),
        channels_(args.channels),
        size_(args.rows * args.channels),
        x_(static_cast<const scalar_t*>(args.x)),
        out_(static_cast<scalar_t*>(args.out)),
        weight_(static_cast<const T*>(args.weight)),
        bias_(static_cast<const T*>(args.bias)),
        mean_(static_cast<T*>(args.mean)),
        variance_(static_cast<T*>(args.variance)),
        factors_(args.factors.as<Vec<T>>()),
        key_(args.philox.key()),
        counter_(args.philox.first_word() / 4) {}

  void forward() const {
    find_moments();
    const ByChannel<T> mean = means(), scale = scales(), bias = biases();
    store_all(x_, [&](const uint16_t* bits, int64_t channel, const Vec<T>& x, const Vec<T>&) {
      const Vec<T> z = at::vec::fmadd(x - mean.at(channel), scale.at(channel), bias.at(channel));
      return activate(bits, z, z);
    });
  }

  // g, the gradient with respect to z, is computed twice: for its sums, then for the gradient of x.
  void backward() const {
    const auto* given = static_cast<const scalar_t*>(args_.grad_output);
    const ByChannel<T> mean = means(), scale = scales(), bias = biases();
    const auto gradient = [&](const uint16_t* bits, int64_t channel, const Vec<T>& d, const Vec<T>& upstream) {
      return activate(bits, upstream, at::vec::fmadd(d, scale.at(channel), bias.at(channel)));
    };
    const Sums sums =
        sum_all<kDropout>(given, [&](const uint16_t* bits, int64_t channel, const Vec<T>& x, const Vec<T>& upstream) {
          const Vec<T> d = x - mean.at(channel), g = gradient(bits, channel, d, upstream);
          return std::pair(g, g * d);
        });
    auto* grad_weight = static_cast<T*>(args_.grad_weight);
    auto* grad_bias = static_cast<T*>(args_.grad_bias);
    ByChannel<T> constant(channels_), by_d(channels_);
    for (int64_t c = 0; c < channels_; ++c) {
      const math::BatchNormGradient of(channel(c), sums.first[c], sums.second[c], static_cast<double>(rows_));
      grad_weight[c] = static_cast<T>(of.weight);
      grad_bias[c] = static_cast<T>(of.bias);
      constant.set(c, of.constant);
      by_d.set(c, of.by_d);
    }
    store_all(given, [&](const uint16_t* bits, int64_t channel, const Vec<T>& x, const Vec<T>& upstream) {
      const Vec<T> d = x - mean.at(channel);
      const Vec<T> of_sums = at::vec::fmadd(d, by_d.at(channel), constant.at(channel));
      return at::vec::fmadd(scale.at(channel), gradient(bits, channel, d, upstream), of_sums);
    });
  }

 private:
  // Rows whose mean is taken off before squares are summed, so that channels far from zero lose no digits. Several: a
  // single one may lie far off itself.
  static constexpr int64_t kFirstRows = 64;
  // Numbers that are added up in the computing type before their sum goes on in float64.
  static constexpr int64_t kAdditions = 128;

  void find_moments() const {
    const int64_t first_rows = std::min(kFirstRows, rows_);
    std::vector<double> first(channels_);
    for (int64_t row = 0; row < first_rows; ++row) {
      for (int64_t c = 0; c < channels_; ++c) first[c] += static_cast<double>(x_[row * channels_ + c]);
    }
    const ByChannel<T> offset(channels_, [&](int64_t c) { return first[c] / static_cast<double>(first_rows); });
    const Sums sums = sum_all<false>(x_, [&](const uint16_t*, int64_t channel, const Vec<T>& x, const Vec<T>&) {
      const Vec<T> d = x - offset.at(channel);
      return std::pair(d, d * d);
    });
    for (int64_t c = 0; c < channels_; ++c) {
      const auto [from_offset, variance] = math::moments(sums.first[c], sums.second[c], static_cast<double>(rows_));
      mean_[c] = static_cast<T>(offset[c] + from_offset);
      variance_[c] = static_cast<T>(variance);
    }
  }

  math::BatchNormChannel channel(int64_t c) const { return {weight_[c], variance_[c], args_.epsilon}; }

  ByChannel<T> means() const {
    return {channels_, [&](int64_t c) { return mean_[c]; }};
  }
  ByChannel<T> scales() const {
    return {channels_, [&](int64_t c) { return channel(c).scale(); }};
  }
  ByChannel<T> biases() const {
    return {channels_, [&](int64_t c) { return bias_[c]; }};
  }

  // value times the leaky ReLU's factor for `sign`, or 0 where it is dropped.
  Vec<T> activate(const uint16_t* bits, const Vec<T>& value, const Vec<T>& sign) const {
    if constexpr (kDropout) {
      return factors_.apply(at_least<T>(bits, factors_.dropped), value, sign);
    } else {
      return value * select(less(Vec<T>(T(0)), sign), factors_.positive, factors_.negative);
    }
  }

  // Sums the two vectors that f gives for a vector of elements; half precision a half vector at a time. Chunks depend
  // on the shape alone, so any number of threads gives the same bits.
  template <bool kBits, typename F>
  Sums sum_all(const scalar_t* other, const F& f) const {
    // At least 16 rows: the totals of all chunks take no more memory than x. Then no more than a float takes without
    // losing digits: with few channels every vector is added to the same ones.
    const int64_t wide = std::max<int64_t>(channels_, Vec<T>::size());
    const int64_t stretches =
        std::max((16 * channels_ + kStretch - 1) / kStretch, std::clamp<int64_t>(kAdditions * wide / kStretch, 1, 8));
    const int64_t chunk = stretches * kStretch, chunks = (size_ + chunk - 1) / chunk;
    std::vector<double> totals(2 * channels_ * chunks);
    at::parallel_for(0, chunks, std::max<int64_t>(1, kElementsPerThread / chunk), [&](int64_t begin, int64_t end) {
      StretchBits bits;
      ByChannel<T> first(channels_), second(channels_);
      for (int64_t at = begin * chunk; at < std::min(end * chunk, size_); at += kStretch) {
        const int64_t n = std::min(kStretch, size_ - at);
        if constexpr (kBits) bits.fill(key_, counter_, at, n, [](int64_t, int64_t) {});
        Channel channel(at, channels_);
        for (int64_t k = 0; k < n; k += Vec<T>::size()) {
          auto [a, b] = f(bits.at(k), channel, load_within(x_ + at, k, n), load_within(other + at, k, n));
          if (n - k < Vec<T>::size()) a = first_lanes(a, n - k), b = first_lanes(b, n - k);
          first.add(channel, a);
          second.add(channel, b);
          channel.advance(Vec<T>::size());
        }
        if ((at + kStretch) % chunk == 0 || at + kStretch >= size_) {
          double* total = totals.data() + at / chunk * 2 * channels_;
          first.move_to(total);
          second.move_to(total + channels_);
        }
      }
    });
    Sums sums(channels_);
    for (int64_t k = 0; k < chunks; ++k) {
      const double* total = totals.data() + k * 2 * channels_;
      for (int64_t c = 0; c < channels_; ++c) sums.first[c] += total[c];
      for (int64_t c = 0; c < channels_; ++c) sums.second[c] += total[channels_ + c];
    }
    return sums;
  }

  // Writes what f gives for every vector of elements, rounded once.
  template <typename F>
  void store_all(const scalar_t* other, const F& f) const {
    constexpr int64_t step = Vec<scalar_t>::size();
    const int64_t stretches = (size_ + kStretch - 1) / kStretch;
    at::parallel_for(0, stretches, kElementsPerThread / kStretch, [&](int64_t begin, int64_t end) {
      StretchBits bits;
      for (int64_t at = begin * kStretch; at < std::min(end * kStretch, size_); at += kStretch) {
        const int64_t n = std::min(kStretch, size_ - at);
        if constexpr (kDropout) bits.fill(key_, counter_, at, n, [](int64_t, int64_t) {});
        Channel channel(at, channels_);
        const auto computed = [&](int64_t k, int64_t c) {
          return f(bits.at(k), c, load_within(x_ + at, k, n), load_within(other + at, k, n));
        };
        for (int64_t k = 0; k < n; k += step) {
          const auto result = [&] {
            if constexpr (std::is_same_v<scalar_t, T>) {
              return computed(k, channel);
            } else {
              constexpr int64_t half = Vec<T>::size();
              return at::vec::convert_from_float<scalar_t>(computed(k, channel), computed(k + half, channel + half));
            }
          }();
          result.store(out_ + at + k, static_cast<int>(std::min(step, n - k)));
          channel.advance(step);
        }
      }
    });
  }

  const BatchNormArgs& args_;
  const int64_t rows_, channels_, size_;
  const scalar_t* const x_;
  scalar_t* const out_;
  const T* const weight_;
  const T* const bias_;
  T* const mean_;
  T* const variance_;
  const math::LeakyDropout<Vec<T>> factors_;
  const uint64_t key_, counter_;
};

template <bool kDropout>
void run_kernel(const BatchNormArgs& args) {
  for_dtype(args.dtype, [&](auto zero) {
    const BatchNorm<decltype(zero), kDropout> kernel(args);
    args.grad_output == nullptr ? kernel.forward() : kernel.backward();
  });
}

}  // namespace

template <>
void run(const BatchNormArgs& args) {
  tell_used(args.philox);
  args.factors.dropped == 0 ? run_kernel<false>(args) : run_kernel<true>(args);
}

}  // namespace amgan::cpu::CPU_CAPABILITY
