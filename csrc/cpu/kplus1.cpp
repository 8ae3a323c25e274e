// K+1-class losses on the CPU. One read of the logits from memory: a row stays in L1 between its maximum, its
// exponentials (one per element) and its gradient.
#include "args/kplus1.h"

#include "cpu/row.h"

namespace amgan::cpu::CPU_CAPABILITY {
namespace {

int64_t label_at(const KPlus1Batch& batch, int64_t row) {
  const int64_t at = row * batch.label_stride;
  return batch.labels_are_int32 ? static_cast<const int32_t*>(batch.labels)[at]
                                : static_cast<const int64_t*>(batch.labels)[at];
}

template <typename scalar_t>
class Kernel {
 public:
  using T = Computing<scalar_t>;

  explicit Kernel(const KPlus1Args& args) : args_(args), columns_(args.classes + args.fake_column) {}

  // Rows [begin, end) of a batch; returns the sum of their losses.
  double run(const KPlus1Batch& batch, int64_t begin, int64_t end, T* values, T* exps) const {
    const auto coefficients = batch.coefficients.as<T>();
    const bool want_loss = batch.loss != nullptr || args_.total != nullptr;
    const bool want_label = args_.labels_out != nullptr || coefficients.t != 0;
    double sum = 0;
    for (int64_t i = begin; i < end; ++i) {
      const T* x = load_row(static_cast<const scalar_t*>(batch.logits) + i * batch.row_stride, columns_, values);
      const T max = row_max(x, args_.classes);
      int64_t label = 0;
      if (want_label) label = batch.labels != nullptr ? label_at(batch, i) : first_of(x, args_.classes, max);
      const auto row = reduce(x, max, label, coefficients.u != 0, batch.grad != nullptr ? exps : nullptr);
      const auto of_row = label == args_.classes ? coefficients.targeting_fake() : coefficients;

      if (want_loss) {
        const T loss = math::kplus1_loss(row, of_row, args_.classes);
        sum += loss;
        if (batch.loss != nullptr) static_cast<T*>(batch.loss)[i] = loss;
      }
      if (batch.grad != nullptr) store_gradient(batch, i, row, of_row, label, exps);
      if (args_.labels_out != nullptr) store_terms(i, row, label);
    }
    return sum;
  }

 private:
  math::KPlus1Row<T> reduce(const T* x, T max, int64_t label, bool want_shifts, T* exps) const {
    const int64_t classes = args_.classes;
    const T shift = finite_shift(max);
    const auto sums =
        want_shifts ? exp_sums<true, false>(x, classes, shift, exps) : exp_sums<false, false>(x, classes, shift, exps);
    const T fake = args_.fake_column ? x[classes] : T(0);
    const T target = label == classes ? fake : x[label];
    return {shift, sums.sum, sums.shifts, target - shift, fake - shift};
  }

  void store_gradient(const KPlus1Batch& batch, int64_t i, const math::KPlus1Row<T>& row,
                      const math::Coefficients<T>& coefficients, int64_t label, const T* exps) const {
    const int64_t classes = args_.classes;
    const auto* grad_output = static_cast<const T*>(batch.grad_output);
    const T upstream = grad_output == nullptr ? T(1) : grad_output[i * batch.grad_output_stride];
    const auto gradient = math::kplus1_gradient(row, coefficients, classes, static_cast<T>(upstream * batch.scale));
    auto* out = static_cast<scalar_t*>(batch.grad) + i * columns_;
    store_scaled(exps, classes, gradient.weight, gradient.constant, out);
    // The true class is 1 - p: taken in T and rounded once, not subtracted from a rounded p.
    if (coefficients.t != 0) {
      out[label] = static_cast<scalar_t>(gradient.weight * exps[label] + gradient.constant + gradient.target);
    }
    if (args_.fake_column) out[classes] = static_cast<scalar_t>(gradient.fake);
  }

  void store_terms(int64_t i, const math::KPlus1Row<T>& row, int64_t label) const {
    const auto terms = math::kplus1_terms(row);
    static_cast<T*>(args_.labelgan)[i] = terms.labelgan;
    static_cast<T*>(args_.auxiliary)[i] = terms.auxiliary;
    args_.labels_out[i] = label;
  }

  const KPlus1Args& args_;
  const int64_t columns_;
};

}  // namespace

void kplus1(const KPlus1Args& args) {
  const int64_t columns = args.classes + args.fake_column;
  const Chunks cut(columns);
  const int64_t first_chunks = cut.count(args.batch[0].rows);
  const int64_t chunks = first_chunks + (args.batches == 2 ? cut.count(args.batch[1].rows) : 0);
  std::vector<double> sums(chunks);

  for_dtype(args.dtype, [&](auto zero) {
    using scalar_t = decltype(zero);
    const Kernel<scalar_t> kernel(args);
    at::parallel_for(0, chunks, cut.grain, [&](int64_t begin, int64_t end) {
      auto values = row_buffer<Computing<scalar_t>>(columns), exps = row_buffer<Computing<scalar_t>>(columns);
      for (int64_t chunk = begin; chunk < end; ++chunk) {
        const bool second = chunk >= first_chunks;
        const KPlus1Batch& batch = args.batch[second];
        const int64_t row = (second ? chunk - first_chunks : chunk) * cut.rows;
        sums[chunk] = kernel.run(batch, row, std::min(row + cut.rows, batch.rows), values.data(), exps.data());
      }
    });
    if (args.total != nullptr) {
      double total = 0;
      for (int64_t b = 0, chunk = 0; b < args.batches; ++b) {
        double sum = 0;
        for (const int64_t end = b == 0 ? first_chunks : chunks; chunk < end; ++chunk) sum += sums[chunk];
        total += args.batch[b].scale * sum;
      }
      using T = Computing<scalar_t>;
      *static_cast<T*>(args.total) = static_cast<T>(total);
    }
  });
}

}  // namespace amgan::cpu::CPU_CAPABILITY
