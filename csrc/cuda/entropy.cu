// Entropy of the softmax of each row of logits: per row, its total, its gradient.
//
// One launch. Every logit is read once and every gradient written once, with one exp2 per logit for up to 8,192 classes
// (float64: 4,096) and two for more. What of a row fits neither in registers nor in shared memory (long_row.cuh) is
// read again for the gradient.
#include "args/entropy.h"

#include "cuda/entropy_row.cuh"
#include "cuda/launchers.h"
#include "cuda/loss_rows.cuh"

namespace amgan::cuda {
namespace {

// EntropyArgs with types.
template <typename Scalar>
struct Params {
  using T = Computing<Scalar>;
  const Scalar* logits;
  int64_t rows;
  int64_t classes;
  int64_t row_stride;
  T scale;
  const T* grad_output;
  int64_t grad_output_stride;
  const T* row_weight;
  int64_t row_weight_stride;
  T* entropy;
  Scalar* grad;
  int slots;  // of shared memory, for long rows
  Total<T> total;
};

// kParts = 0: a grid of total.blocks. Otherwise one block of up to that many parts stands for it (total.cuh).
template <typename Scalar, typename Layout, int kParts>
__global__ void __launch_bounds__(kMostThreads<Layout, kParts>, kParts > 0 ? 1 : kMinBlocks<Scalar, Layout, 2>)
    entropy_kernel(const __grid_constant__ Params<Scalar> params) {
  using T = Computing<Scalar>;
  using Threads = Group<Layout::kThreads>;

  double sum = 0;
  for_rows<Scalar, Layout>(
      params.logits, params.rows, params.row_stride, params.classes, params.classes, params.grad,
      kParts > 0 ? threadIdx.y : blockIdx.x, params.total.blocks[0],
      [&](int64_t index) { return params.grad_output ? params.grad_output[index * params.grad_output_stride] : T(1); },
      [&](auto& logits, int64_t index, Scalar* grad, T grad_output) {
        T exponentials[std::decay_t<decltype(logits)>::kRegisters];
        const math::EntropyRow<T> row = entropy_row<true>(logits, exponentials);
        const auto gradient = Threads::once([&] {
          const math::EntropyTerms<T> terms = math::entropy_terms(row);
          const T weight = weight_of<T>(params, index);  // here: whoever has none keeps no register for it
          if (Threads::rank() == 0) {
            const T entropy = math::or_absent<T>(weight, terms.entropy);
            sum += entropy;
            if (params.entropy) params.entropy[index] = entropy;
          }
          return math::entropy_gradient(row, terms, params.scale * grad_output * weight);
        });
        if (!params.grad) return;
        Threads::sync();  // the gradient takes the place of the logits
        const T at_max = gradient.weight * gradient.mean;
        const auto gradient_at = [&](T near, T e) { return (at_max - gradient.weight * near) * e; };
        if constexpr (Layout::kInRegisters) {
          int i = 0;
          logits.for_each_value([&](T& value) { value = gradient_at(value, exponentials[i++]); });
          logits.store_each(grad, [](T value) { return value; });
        } else {
          logits.store_each(grad, [&](T value) {
            const T near = not_far(value - row.max);
            return gradient_at(near, exp_of_near<Scalar>(near));
          });
        }
      },
      params.slots);
  add_to_total<Layout::kBlockThreads, kParts>(params.total, sum);
}

struct Kernels {
  template <typename Scalar, typename Layout, int kParts>
  static constexpr auto of = &entropy_kernel<Scalar, Layout, kParts>;
};

template <typename Scalar, typename Layout>
cudaError_t launch_typed(const EntropyArgs& args, const Split<Scalar, Layout>& split, cudaStream_t stream) {
  using T = Computing<Scalar>;
  Params<Scalar> params{};
  params.logits = static_cast<const Scalar*>(args.logits);
  params.rows = args.rows;
  params.classes = args.classes;
  params.row_stride = args.row_stride;
  params.scale = static_cast<T>(args.scale);
  params.grad_output = static_cast<const T*>(args.grad_output);
  params.grad_output_stride = args.grad_output_stride;
  params.row_weight = static_cast<const T*>(args.row_weight);
  params.row_weight_stride = args.row_weight_stride;
  params.entropy = static_cast<T*>(args.entropy);
  params.grad = static_cast<Scalar*>(args.grad);
  params.total = {static_cast<T*>(args.total), args.workspace, {split.count(), 0}, {args.scale, 0}, args.ticket};

  return launch_split<Kernels>(split, params, args.classes, args.classes, stream);
}

// Calls function(Split<Scalar, Layout>) for what the arguments ask.
template <typename Function>
cudaError_t with_split(const EntropyArgs& args, Function function) {
  return with_split<2>(args.dtype, args.classes, args.rows, 0, function);
}

}  // namespace

template <>
int64_t workspace_size(const EntropyArgs& args) {
  int64_t size = 0;
  with_split(args, [&](auto split) {
    size = args.total ? split.workspace() : 0;
    return cudaSuccess;
  });
  return size;
}

template <>
cudaError_t launch(const EntropyArgs& args, cudaStream_t stream) {
  return with_split(args, [&](auto split) { return launch_typed(args, split, stream); });
}

}  // namespace amgan::cuda
