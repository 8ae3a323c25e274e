// Score sums on the CPU. The logits are read from memory once: four rows at a time are turned into probabilities
// in L1, then added to the column sums in float64, which are loaded and stored once per four rows.
#include "args/scores.h"

#include "cpu/row.h"
#include "math/entropy.h"

namespace amgan::cpu::CPU_CAPABILITY {
namespace {

constexpr int kGroup = 4;  // rows per pass over the column sums

struct Sums {
  double* entropy;   // [1]
  double* prob;      // [K]
  double* prob_sq;   // [K]
  double* log_prob;  // [K]
};

// The rows of a group: log p_k = log_prob[k] - log_shift.
template <typename T>
struct Group {
  const T* prob[kGroup];
  const T* log_prob[kGroup];
  double log_shift[kGroup];
};

template <int rows, typename T>
void add_columns(const Group<T>& group, int64_t classes, const Sums& sums) {
  for (int64_t k = 0; k < classes; ++k) {
    double prob = 0, prob_sq = 0, log_prob = 0;
    for (int j = 0; j < rows; ++j) {
      const double p = group.prob[j][k];
      prob += p;
      prob_sq += p * p;
      log_prob += group.log_prob[j][k] - group.log_shift[j];
    }
    sums.prob[k] += prob;
    sums.prob_sq[k] += prob_sq;
    sums.log_prob[k] += log_prob;
  }
}

template <typename scalar_t>
class Kernel {
 public:
  using T = Computing<scalar_t>;

  explicit Kernel(const ScoresArgs& args)
      : args_(args), stride_(row_buffer_size<T>(args.classes)), values_(kGroup * stride_), probs_(kGroup * stride_) {}

  // Rows first, first + step, ... below end.
  void run(int64_t first, int64_t end, int64_t step, const Sums& sums) {
    Group<T> group;
    int filled = 0;
    for (int64_t i = first; i < end; i += step) {
      *sums.entropy += args_.probabilities ? take_probabilities(i, filled, group) : take_logits(i, filled, group);
      if (++filled == kGroup) {
        add_columns<kGroup>(group, args_.classes, sums);
        filled = 0;
      }
    }
    for (int j = 0; j < filled; ++j) {
      const Group<T> last{{group.prob[j]}, {group.log_prob[j]}, {group.log_shift[j]}};
      add_columns<1>(last, args_.classes, sums);
    }
  }

 private:
  const T* row(int64_t i, int slot) {
    const auto* input = static_cast<const scalar_t*>(args_.input) + i * args_.row_stride;
    return load_row(input, args_.classes, values_.data() + slot * stride_);
  }

  // Both return the entropy of row i.
  double take_logits(int64_t i, int slot, Group<T>& group) {
    const T* x = row(i, slot);
    T* prob = probs_.data() + slot * stride_;
    const T shift = finite_shift(row_max(x, args_.classes));
    const auto sums = exp_sums<false, true>(x, args_.classes, shift, prob);
    const auto terms = math::entropy_terms<T>({shift, sums.sum, sums.weighted});
    store_scaled(prob, args_.classes, terms.inverse_sum, T(0), prob);
    group.prob[slot] = prob;
    group.log_prob[slot] = x;
    group.log_shift[slot] = static_cast<double>(shift) + static_cast<double>(terms.log_sum);
    return terms.entropy;
  }

  double take_probabilities(int64_t i, int slot, Group<T>& group) {
    const T* prob = row(i, slot);
    T* log_prob = probs_.data() + slot * stride_;
    double entropy = 0;
    for (int64_t k = 0; k < args_.classes; ++k) {
      log_prob[k] = std::log(prob[k]);
      entropy -= math::times_prob(log_prob[k], prob[k]);
    }
    group.prob[slot] = prob;
    group.log_prob[slot] = log_prob;
    group.log_shift[slot] = 0;
    return entropy;
  }

  const ScoresArgs& args_;
  const int64_t stride_;  // of the row buffers, one a slot
  std::vector<T> values_, probs_;
};

// A block whose rows are many is cut into chunks, each summed by itself; how many depends on the shape alone.
int64_t chunks_per_block(const ScoresArgs& args) {
  const int64_t rows = args.rows / args.blocks;
  return std::clamp<int64_t>(rows * args.classes / 65536, 1, std::max<int64_t>(64 / args.blocks, 1));
}

}  // namespace

void scores(const ScoresArgs& args) {
  const int64_t classes = args.classes, blocks = args.blocks, chunks = chunks_per_block(args);
  const int64_t size = 3 * classes + 1;
  std::vector<double> partial(chunks > 1 ? blocks * chunks * size : 0);
  std::fill_n(args.entropy, blocks, 0.0);
  for (double* columns : {args.prob, args.prob_sq, args.log_prob}) std::fill_n(columns, blocks * classes, 0.0);

  const auto block_sums = [&](int64_t block) {
    const int64_t at = block * classes;
    return Sums{args.entropy + block, args.prob + at, args.prob_sq + at, args.log_prob + at};
  };
  const auto chunk_sums = [&](int64_t item) {
    if (chunks == 1) return block_sums(item);
    double* at = partial.data() + item * size;
    return Sums{at, at + 1, at + 1 + classes, at + 1 + 2 * classes};
  };
  // The first row of a block, and the number of its rows.
  const auto first_row = [&](int64_t block) { return (block + blocks - args.offset % blocks) % blocks; };
  const auto rows_of = [&](int64_t block) {
    return std::max<int64_t>((args.rows - first_row(block) + blocks - 1) / blocks, 0);
  };

  const int64_t elements_per_item = std::max<int64_t>(args.rows * classes / (blocks * chunks), 1);
  const int64_t grain = std::max<int64_t>(Chunks::kElementsPerThread / elements_per_item, 1);
  for_dtype(args.dtype, [&](auto zero) {
    at::parallel_for(0, blocks * chunks, grain, [&](int64_t begin, int64_t end) {
      Kernel<decltype(zero)> kernel(args);
      for (int64_t item = begin; item < end; ++item) {
        const int64_t block = item / chunks, chunk = item % chunks, rows = rows_of(block);
        const int64_t from = rows * chunk / chunks, to = rows * (chunk + 1) / chunks;
        kernel.run(first_row(block) + from * blocks, first_row(block) + to * blocks, blocks, chunk_sums(item));
      }
    });
  });

  at::parallel_for(0, blocks, std::max<int64_t>(Chunks::kElementsPerThread / classes, 1),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t block = begin; block < end; ++block) {
                       args.count[block] = static_cast<double>(rows_of(block));
                       if (chunks == 1) continue;
                       const Sums into = block_sums(block);
                       for (int64_t chunk = 0; chunk < chunks; ++chunk) {
                         const Sums from = chunk_sums(block * chunks + chunk);
                         *into.entropy += *from.entropy;
                         for (int64_t k = 0; k < classes; ++k) {
                           into.prob[k] += from.prob[k];
                           into.prob_sq[k] += from.prob_sq[k];
                           into.log_prob[k] += from.log_prob[k];
                         }
                       }
                     }
                   });
}

}  // namespace amgan::cpu::CPU_CAPABILITY
