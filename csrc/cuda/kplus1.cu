// Row losses on K+1-class logits: loss, total, gradient and terms of one or two batches.
//
// Per row: the maximum m of the K real logits, sum exp(l_k - m) - 1, and where the coefficients ask for them the label
// and sum (l_k - m); then math/kplus1.h turns these into the loss and into two numbers that each gradient follows from.
//
// Cost: every logit is read once and every gradient written once for K <= 1024, one exp per logit. Longer rows are read
// again, mostly from the L2 cache, for the maximum, its index, the sums and the gradient, with one more exp for that.
// One launch, and a second, tiny one where a total is asked for.
#undef NDEBUG  // a label out of range must be reported by release builds, too
#include <cassert>

#include "cuda/launchers.h"
#include "cuda/row.cuh"
#include "cuda/total.cuh"

namespace amgan::cuda {
namespace {

// KPlus1Batch with types, and with coefficients in the computing type: float64 is slow on many GPUs.
template <typename Scalar>
struct Batch {
  using T = Computing<Scalar>;
  const Scalar* logits;
  int64_t rows;
  int64_t row_stride;
  const void* labels;
  int64_t label_stride;
  bool labels_are_int32;
  int64_t max_label;
  math::Coefficients<T> coefficients;
  T scale;
  const T* grad_output;
  int64_t grad_output_stride;
  T* loss;
  Scalar* grad;
  T* labelgan;  // the three of kplus1_terms: all or none null
  T* auxiliary;
  int64_t* labels_out;
};

template <typename Scalar>
struct Params {
  Batch<Scalar> batch[2];
  int64_t blocks[2];  // of the grid: first those of batch 0, then those of batch 1
  int64_t classes;
  bool fake_column;
  double* partials;  // [blocks[0] + blocks[1]] sum of the losses of each block's rows; or null
};

template <typename Scalar>
__device__ __forceinline__ int64_t given_label(const Batch<Scalar>& batch, int64_t row) {
  const int64_t i = row * batch.label_stride;
  const int64_t label = batch.labels_are_int32 ? static_cast<const int32_t*>(batch.labels)[i]
                                               : static_cast<const int64_t*>(batch.labels)[i];
  assert(label >= 0 && label <= batch.max_label && "amgan_fast: label out of range");
  return label;
}

// As torch.argmax: the lowest index of the maximum, or that of the first NaN.
template <typename Scalar, typename Layout>
__device__ __forceinline__ int64_t argmax(Row<Scalar, Layout>& logits, int64_t classes, Computing<Scalar> largest) {
  using Column = typename Row<Scalar, Layout>::Column;
  Column lowest = static_cast<Column>(classes);
  logits.for_each([&](Column column, Computing<Scalar> value) {
    if ((value == largest || value != value) && column < lowest) lowest = column;
  });
  return Group<Layout::kThreads>::reduce(lowest, Min());
}

// Everything asked about one row. Returns its loss where loss or total are asked for, to all threads of the row.
template <typename Scalar, typename Layout>
__device__ __forceinline__ Computing<Scalar> visit_row(const Params<Scalar>& params, const Batch<Scalar>& batch,
                                                       int64_t index) {
  using T = Computing<Scalar>;
  using Threads = Group<Layout::kThreads>;
  using Column = typename Row<Scalar, Layout>::Column;
  using std::exp;

  const int64_t classes = params.classes;
  const bool first = Threads::rank() == 0;
  const Scalar* const data = batch.logits + index * batch.row_stride;
  int64_t label = batch.labels ? given_label(batch, index) : -1;
  Row<Scalar, Layout> logits(data, classes);
  const T fake = params.fake_column ? load(data + classes) : T(0);

  const T largest = row_max(logits);
  math::KPlus1Row<T> row{};
  row.max = largest == -INFINITY ? T(0) : largest;
  row.fake = fake - row.max;

  if (batch.coefficients.t != 0 || batch.labels_out) {
    if (!batch.labels) {
      label = argmax(logits, classes, largest);
      row.target = largest - row.max;
    } else {
      row.target = label == classes ? row.fake : logits.at(static_cast<Column>(label)) - row.max;
    }
  }
  const math::Coefficients<T> coefficients = batch.coefficients.targeting_fake(label == classes);

  const bool uses_shifts = coefficients.u != 0;
  T sum = 0, below_one = 0;
  logits.for_each([&](Column, T& value) {
    const T shifted = value - row.max;
    if (uses_shifts) row.shifts += shifted;
    value = exp(shifted);
    sum += value;
    below_one += value < T(1) ? value : T(0);
  });
  row.excess = math::sum_less_one(Threads::reduce(sum, Sum()), Threads::reduce(below_one, Sum()));
  if (uses_shifts) row.shifts = Threads::reduce(row.shifts, Sum());

  const math::KPlus1Logs<T> logs(row);
  T loss = 0;
  if (batch.loss || params.partials) {
    loss = math::kplus1_loss(row, logs, coefficients, classes);
    if (batch.loss && first) batch.loss[index] = loss;
  }

  if (batch.labels_out && first) {
    const math::KPlus1RowTerms<T> terms = math::kplus1_terms(row, logs);
    batch.labelgan[index] = terms.labelgan;
    batch.auxiliary[index] = terms.auxiliary;
    batch.labels_out[index] = label;
  }

  if (batch.grad) {
    const T grad_output = batch.grad_output ? batch.grad_output[index * batch.grad_output_stride] : T(1);
    const auto gradient = math::kplus1_gradient(row, logs, coefficients, classes, batch.scale * grad_output);
    Scalar* const grad = batch.grad + index * (classes + params.fake_column);
    if (params.fake_column && first) store(grad + classes, gradient.fake);
    const Column target = static_cast<Column>(label);
    logits.for_each([&](Column column, T value) {
      const T e = Layout::kInRegisters ? value : exp(value - row.max);
      const T smooth = gradient.weight * e + gradient.constant;
      store(grad + column, column == target ? smooth + gradient.target : smooth);
    });
  }
  return loss;
}

template <typename Scalar, typename Layout>
__global__ void __launch_bounds__(Layout::kBlockThreads) kplus1_kernel(const __grid_constant__ Params<Scalar> params) {
  using Threads = Group<Layout::kThreads>;
  const bool second = blockIdx.x >= params.blocks[0];
  const Batch<Scalar>& batch = params.batch[second];
  const int64_t block = second ? blockIdx.x - params.blocks[0] : blockIdx.x;
  const int64_t step = params.blocks[second] * Layout::kBlockRows;

  double sum = 0;
  for (int64_t row = block * Layout::kBlockRows + Threads::index(); row < batch.rows; row += step) {
    sum += visit_row<Scalar, Layout>(params, batch, row);
  }
  if (params.partials) {
    sum = Group<Layout::kBlockThreads>::reduce(Threads::rank() == 0 ? sum : 0.0, Sum());
    if (threadIdx.x == 0) params.partials[blockIdx.x] = sum;
  }
}

template <typename Scalar>
Batch<Scalar> typed(const KPlus1Batch& batch) {
  using T = Computing<Scalar>;
  Batch<Scalar> typed{};
  typed.logits = static_cast<const Scalar*>(batch.logits);
  typed.rows = batch.rows;
  typed.row_stride = batch.row_stride;
  typed.labels = batch.labels;
  typed.label_stride = batch.label_stride;
  typed.labels_are_int32 = batch.labels_are_int32 != 0;
  typed.max_label = batch.max_label;
  typed.coefficients = batch.coefficients.as<T>();
  typed.scale = static_cast<T>(batch.scale);
  typed.grad_output = static_cast<const T*>(batch.grad_output);
  typed.grad_output_stride = batch.grad_output_stride;
  typed.loss = static_cast<T*>(batch.loss);
  typed.grad = static_cast<Scalar*>(batch.grad);
  return typed;
}

template <typename Scalar, typename Layout>
cudaError_t launch(const KPlus1Args& args, cudaStream_t stream) {
  using T = Computing<Scalar>;
  Params<Scalar> params{};
  Partials partials{args.workspace, args.batches, {}, {}};
  for (int i = 0; i < args.batches; ++i) {
    params.batch[i] = typed<Scalar>(args.batch[i]);
    params.blocks[i] = partials.blocks[i] = Layout::blocks(args.batch[i].rows);
    partials.scale[i] = args.batch[i].scale;
  }
  params.batch[0].labelgan = static_cast<T*>(args.labelgan);
  params.batch[0].auxiliary = static_cast<T*>(args.auxiliary);
  params.batch[0].labels_out = args.labels_out;
  params.classes = args.classes;
  params.fake_column = args.fake_column != 0;
  params.partials = args.total ? args.workspace : nullptr;

  const int64_t blocks = params.blocks[0] + params.blocks[1];
  if (blocks > 0) {
    kplus1_kernel<Scalar, Layout><<<static_cast<unsigned>(blocks), Layout::kBlockThreads, 0, stream>>>(params);
    if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
  }
  return args.total ? launch_total(partials, static_cast<T*>(args.total), stream) : cudaSuccess;
}

}  // namespace
}  // namespace amgan::cuda

int64_t amgan_cuda_kplus1_workspace(const amgan::KPlus1Args* args) {
  if (!args->total) return 0;
  return amgan::cuda::with_layout(args->classes, [&](auto layout) {
    int64_t blocks = 0;
    for (int i = 0; i < args->batches; ++i) blocks += layout.blocks(args->batch[i].rows);
    return blocks;
  });
}

cudaError_t amgan_cuda_kplus1(const amgan::KPlus1Args* args, cudaStream_t stream) {
  return amgan::cuda::dispatch(args->dtype, [&](auto tag) {
    return amgan::cuda::with_layout(args->classes, [&](auto layout) {
      return amgan::cuda::launch<typename decltype(tag)::type, decltype(layout)>(*args, stream);
    });
  });
}
