// Class entropy and its gradient on the CPU: one read of the logits from memory, one exponential per element.
#include "args/entropy.h"

#include "cpu/row.h"
#include "math/entropy.h"

namespace amgan::cpu::CPU_CAPABILITY {
namespace {

template <typename scalar_t>
double run(const EntropyArgs& args, int64_t begin, int64_t end, Computing<scalar_t>* values,
           Computing<scalar_t>* exps) {
  using T = Computing<scalar_t>;
  const auto* grad_output = static_cast<const T*>(args.grad_output);
  double sum = 0;
  for (int64_t i = begin; i < end; ++i) {
    const T* x = load_row(static_cast<const scalar_t*>(args.logits) + i * args.row_stride, args.classes, values);
    const T shift = finite_shift(row_max(x, args.classes));
    const auto sums = exp_sums<false, true>(x, args.classes, shift, args.grad != nullptr ? exps : nullptr);
    const auto terms = math::entropy_terms<T>({shift, sums.sum, sums.weighted});
    sum += terms.entropy;
    if (args.entropy != nullptr) static_cast<T*>(args.entropy)[i] = terms.entropy;
    if (args.grad != nullptr) {
      const T upstream = grad_output == nullptr ? T(1) : grad_output[i * args.grad_output_stride];
      const T scale = static_cast<T>(upstream * args.scale);
      for (int64_t k = 0; k < args.classes; ++k) {
        exps[k] = scale * math::entropy_gradient(terms, x[k] - shift, exps[k]);
      }
      store_scaled(exps, args.classes, T(1), T(0), static_cast<scalar_t*>(args.grad) + i * args.classes);
    }
  }
  return sum;
}

}  // namespace

void entropy(const EntropyArgs& args) {
  const Chunks cut(args.classes);
  const int64_t chunks = cut.count(args.rows);
  std::vector<double> sums(chunks);

  for_dtype(args.dtype, [&](auto zero) {
    using scalar_t = decltype(zero);
    using T = Computing<scalar_t>;
    at::parallel_for(0, chunks, cut.grain, [&](int64_t begin, int64_t end) {
      auto values = row_buffer<T>(args.classes), exps = row_buffer<T>(args.classes);
      for (int64_t chunk = begin; chunk < end; ++chunk) {
        const int64_t row = chunk * cut.rows;
        sums[chunk] = run<scalar_t>(args, row, std::min(row + cut.rows, args.rows), values.data(), exps.data());
      }
    });
    if (args.total != nullptr) {
      double total = 0;
      for (const double sum : sums) total += sum;
      *static_cast<T*>(args.total) = static_cast<T>(args.scale * total);
    }
  });
}

}  // namespace amgan::cpu::CPU_CAPABILITY
