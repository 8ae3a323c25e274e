// Leaky ReLU + dropout and its gradient on the CPU: one pass over memory. The random bits of some elements are computed
// while the elements after them are on their way.
#include "args/leaky_dropout.h"

#include "cpu/chunks.h"
#include "cpu/dispatch.h"
#include "cpu/dropout_bits.h"
#include "cpu/row.h"

namespace amgan::cpu::CPU_CAPABILITY {
namespace {

// Into the second-level cache.
template <typename scalar_t>
void prefetch(const scalar_t* x, int64_t count) {
  for (int64_t k = 0; k < count; k += 64 / sizeof(scalar_t)) __builtin_prefetch(x + k, 0, 2);
}

template <typename scalar_t, bool kBackward>
void multiply(const LeakyDropoutArgs& args) {
  using T = Computing<scalar_t>;
  const auto* values = static_cast<const scalar_t*>(args.values);
  const auto* signs = static_cast<const scalar_t*>(args.signs);
  auto* out = static_cast<scalar_t*>(args.out);
  const auto factors = args.factors.as<Vec<T>>();
  const uint64_t key = args.philox.key(), counter = args.philox.first_word() / 4;
  const int64_t stretches = (args.size + kStretch - 1) / kStretch;
  at::parallel_for(0, stretches, kElementsPerThread / kStretch, [&](int64_t begin, int64_t end) {
    StretchBits bits;
    for (int64_t stretch = begin; stretch < end; ++stretch) {
      const int64_t first = stretch * kStretch, n = std::min(kStretch, args.size - first);
      const scalar_t* value = values + first;
      const scalar_t* sign = kBackward ? signs + first : value;
      bits.fill(key, counter, first, n, [&](int64_t k, int64_t count) {
        prefetch(value + kStretch + k, count);
        if constexpr (kBackward) prefetch(sign + kStretch + k, count);
      });
      // The factors by value: those referred to would be read again after every store.
      store_row(n, out + first, [=, &bits](int64_t k) {
        const Vec<T> v = load_within(value, k, n);
        return factors.apply(at_least<T>(bits.at(k), factors.dropped), v, kBackward ? load_within(sign, k, n) : v);
      });
    }
  });
}

}  // namespace

template <>
void run(const LeakyDropoutArgs& args) {
  tell_used(args.philox);
  for_dtype(args.dtype, [&](auto zero) {
    using scalar_t = decltype(zero);
    args.signs == nullptr ? multiply<scalar_t, false>(args) : multiply<scalar_t, true>(args);
  });
}

}  // namespace amgan::cpu::CPU_CAPABILITY
