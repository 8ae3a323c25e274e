// Entropy of the softmax of each row of logits: per row, its total, its gradient.
//
// One launch. Every logit is read once and every gradient written once for up to 8,192 classes (float64: 4,096), one
// exp2 per logit; longer rows are read again for the gradient, mostly from the L2 cache.
#include "args/entropy.h"

#include "cuda/entropy_row.cuh"
#include "cuda/launchers.h"
#include "cuda/tile.cuh"
#include "cuda/total.cuh"

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
  T* entropy;
  Scalar* grad;
  Total<T> total;
};

template <typename Scalar, typename Layout>
__global__ void __launch_bounds__(Layout::kBlockThreads, kMinBlocks<Scalar, Layout, 2>)
    entropy_kernel(const __grid_constant__ Params<Scalar> params) {
  using T = Computing<Scalar>;
  using Threads = Group<Layout::kThreads>;

  double sum = 0;
  for_rows<Scalar, Layout>(
      params.logits, params.rows, params.row_stride, params.classes, params.classes, params.grad, blockIdx.x, gridDim.x,
      [&](int64_t index) { return params.grad_output ? params.grad_output[index * params.grad_output_stride] : T(1); },
      [&](auto& logits, int64_t index, Scalar* grad, T grad_output) {
        T exponentials[std::decay_t<decltype(logits)>::kRegisters];
        const math::EntropyRow<T> row = entropy_row<true>(logits, exponentials);
        const auto gradient = Threads::once([&] {
          const math::EntropyTerms<T> terms = math::entropy_terms(row);
          if (Threads::rank() == 0) {
            sum += terms.entropy;
            if (params.entropy) params.entropy[index] = terms.entropy;
          }
          return math::entropy_gradient(row, terms, params.scale * grad_output);
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
      });
  add_to_total<Layout::kBlockThreads>(params.total, sum);
}

template <typename Scalar, typename Layout>
cudaError_t launch_typed(const EntropyArgs& args, cudaStream_t stream) {
  using T = Computing<Scalar>;
  Params<Scalar> params{};
  params.logits = static_cast<const Scalar*>(args.logits);
  params.rows = args.rows;
  params.classes = args.classes;
  params.row_stride = args.row_stride;
  params.scale = static_cast<T>(args.scale);
  params.grad_output = static_cast<const T*>(args.grad_output);
  params.grad_output_stride = args.grad_output_stride;
  params.entropy = static_cast<T*>(args.entropy);
  params.grad = static_cast<Scalar*>(args.grad);
  const int64_t blocks = Layout::blocks(args.rows);
  params.total = {static_cast<T*>(args.total), args.workspace, {blocks, 0}, {args.scale, 0}, 0};
  if (args.total) {
    if (const cudaError_t error = choose_ticket(stream, &params.total.ticket); error != cudaSuccess) return error;
  }

  const int64_t shared = Layout::kInTile ? Tile<Scalar, Layout>::bytes(args.classes) : 0;
  entropy_kernel<Scalar, Layout><<<static_cast<unsigned>(blocks), Layout::kBlockThreads, shared, stream>>>(params);
  return cudaGetLastError();
}

}  // namespace

template <>
int64_t workspace_size(const EntropyArgs& args) {
  if (!args.total) return 0;
  return with_layout<double, 2>(args.classes, [&](auto layout) { return layout.blocks(args.rows); });
}

template <>
cudaError_t launch(const EntropyArgs& args, cudaStream_t stream) {
  return dispatch(args.dtype, [&](auto tag) {
    using Scalar = typename decltype(tag)::type;
    return with_layout<Scalar, 2>(args.classes,
                                  [&](auto layout) { return launch_typed<Scalar, decltype(layout)>(args, stream); });
  });
}

}  // namespace amgan::cuda
