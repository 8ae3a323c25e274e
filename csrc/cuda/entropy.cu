// Entropy of the softmax of each row of logits: per row, its total, its gradient.
//
// Cost: every logit is read once and every gradient written once for K <= 1024, one exp per logit and one more for its
// gradient (longer rows are read three times, mostly from the L2 cache). One launch, and a second, tiny one where a
// total is asked for.
#include "cuda/entropy_row.cuh"
#include "cuda/launchers.h"
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
  double* partials;  // [blocks] sum of the entropies of each block's rows; or null
};

template <typename Scalar, typename Layout>
__global__ void __launch_bounds__(Layout::kBlockThreads) entropy_kernel(const __grid_constant__ Params<Scalar> params) {
  using T = Computing<Scalar>;
  using Threads = Group<Layout::kThreads>;
  using std::exp;

  double sum = 0;
  const int64_t step = int64_t{gridDim.x} * Layout::kBlockRows;
  for (int64_t i = int64_t{blockIdx.x} * Layout::kBlockRows + Threads::index(); i < params.rows; i += step) {
    Row<Scalar, Layout> logits(params.logits + i * params.row_stride, params.classes);
    const math::EntropyRow<T> row = entropy_row(logits);
    const math::EntropyTerms<T> terms = math::entropy_terms(row);
    sum += terms.entropy;
    if (params.entropy && Threads::rank() == 0) params.entropy[i] = terms.entropy;
    if (params.grad) {
      const T grad_output = params.grad_output ? params.grad_output[i * params.grad_output_stride] : T(1);
      const T factor = params.scale * grad_output;
      Scalar* const grad = params.grad + i * params.classes;
      logits.for_each([&](auto column, T value) {
        const T shifted = Layout::kInRegisters ? value : value - row.max;
        store(grad + column, factor * math::entropy_gradient(terms, shifted, exp(shifted)));
      });
    }
  }
  if (params.partials) {
    sum = Group<Layout::kBlockThreads>::reduce(Threads::rank() == 0 ? sum : 0.0, Sum());
    if (threadIdx.x == 0) params.partials[blockIdx.x] = sum;
  }
}

template <typename Scalar, typename Layout>
cudaError_t launch(const EntropyArgs& args, cudaStream_t stream) {
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
  params.partials = args.total ? args.workspace : nullptr;

  const int64_t blocks = Layout::blocks(args.rows);
  if (blocks > 0) {
    entropy_kernel<Scalar, Layout><<<static_cast<unsigned>(blocks), Layout::kBlockThreads, 0, stream>>>(params);
    if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
  }
  const Partials partials{args.workspace, 1, {blocks, 0}, {args.scale, 0}};
  return args.total ? launch_total(partials, static_cast<T*>(args.total), stream) : cudaSuccess;
}

}  // namespace
}  // namespace amgan::cuda

int64_t amgan_cuda_entropy_workspace(const amgan::EntropyArgs* args) {
  if (!args->total) return 0;
  return amgan::cuda::with_layout(args->classes, [&](auto layout) { return layout.blocks(args->rows); });
}

cudaError_t amgan_cuda_entropy(const amgan::EntropyArgs* args, cudaStream_t stream) {
  return amgan::cuda::dispatch(args->dtype, [&](auto tag) {
    return amgan::cuda::with_layout(args->classes, [&](auto layout) {
      return amgan::cuda::launch<typename decltype(tag)::type, decltype(layout)>(*args, stream);
    });
  });
}
