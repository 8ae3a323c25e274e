// The multi-hinge of each row of K+1-class logits: loss, total and gradient.
//
// One launch. Every logit is read once and every gradient written once; comparisons alone, no exponential. What of a
// row fits neither in registers nor in shared memory (long_row.cuh) is read again where the runner-up is looked for.
#include "args/hinge.h"
#include "cuda/launchers.h"
#include "cuda/loss_rows.cuh"
#include "math/hinge.h"

namespace amgan::cuda {
namespace {

// HingeArgs with types.
template <typename Scalar>
struct Params {
  using T = Computing<Scalar>;
  const Scalar* logits;
  int64_t rows;
  int64_t classes;
  int64_t row_stride;
  bool fake_column;
  const void* labels;
  int64_t label_stride;
  bool labels_are_int32;
  T margin;
  T scale;
  const T* grad_output;
  int64_t grad_output_stride;
  const T* row_weight;
  int64_t row_weight_stride;
  T* loss;
  Scalar* grad;
  int slots;  // of shared memory, for long rows
  Total<T> total;
};

// What there is of a row beside its logits. Columns are 32 bits wide here, as the largest label is (args/labels.h):
// with two of them through all loops over a long row, 64 would spill.
template <typename T>
struct Given {
  int label;  // or -1: the likeliest real class
  T upstream;
};

template <typename Scalar>
__device__ __forceinline__ Given<Computing<Scalar>> given(const Params<Scalar>& params, int64_t row) {
  Given<Computing<Scalar>> given{-1, 1};
  if (params.labels) {
    const int64_t label = label_of(params, row);
    assert(label >= 0 && label <= params.classes && "amgan_fast: label out of range");
    given.label = static_cast<int>(label);
  }
  if (params.grad_output) given.upstream = params.grad_output[row * params.grad_output_stride];
  return given;
}

// The largest of a row's real logits, one left out.
template <typename Row>
struct Largest {
  typename Row::T logit;    // -inf if there is none; NaN is passed over
  int column;               // the lowest one with this logit; where it was looked for
  typename Row::T spoiled;  // NaN where any logit is NaN or +inf, else 0
};

// For all threads of the row. `left_out` may be no column of it.
template <typename Row>
__device__ __forceinline__ Largest<Row> largest_but(Row& logits, int left_out, int classes, bool with_column) {
  using T = typename Row::T;
  T found[2] = {-INFINITY, 0};  // the second: 1 where a logit is not as it should be
  logits.for_each([&](auto at, T value) {
    const int column = static_cast<int>(at);
    if (column != left_out) found[0] = Max()(found[0], value);
    if (!(value < T(INFINITY))) found[1] = 1;
  });
  Row::Threads::reduce(found, Max());
  int lowest = classes;
  if (with_column) {
    logits.for_each([&](auto at, T value) {
      const int column = static_cast<int>(at);
      if (value == found[0] && column != left_out && column < lowest) lowest = column;
    });
    lowest = Row::Threads::reduce(lowest, Min());
  }
  return {found[0], lowest, found[1] > T(0) ? T(NAN) : T(0)};
}

// Everything asked about one row; `grad` is where its gradient goes. Returns its loss.
template <typename Scalar, typename Row>
__device__ __forceinline__ Computing<Scalar> visit_row(const Params<Scalar>& params, Row& logits, int64_t index,
                                                       Scalar* grad, const Given<Computing<Scalar>>& given) {
  using T = Computing<Scalar>;
  using Threads = typename Row::Threads;
  const int classes = static_cast<int>(params.classes);
  const bool first = Threads::rank() == 0;

  // The dynamic label is found as the runner-up is, with none left out: one loop for both.
  const T fake = params.fake_column ? logits.logit(classes) : T(0);
  int label = given.label;
  T target = label >= 0 && label < classes ? logits.logit(label) : fake;
  Largest<Row> real;
#pragma unroll 1
  while (true) {
    real = largest_but(logits, label, classes, label < 0 || params.grad);
    if (label >= 0) break;
    label = real.column;
    target = real.logit;
  }
  logits.fetch_expected();

  const bool other_is_fake = label < classes && fake > real.logit;
  const math::HingeRow<T> row{target, other_is_fake ? fake : real.logit,
                              real.spoiled + (fake < T(INFINITY) ? T(0) : T(NAN))};
  const T violation = math::hinge_violation(row, params.margin);
  const T weight = weight_of<T>(params, index);  // here: whoever has none keeps no register for it
  const T loss = math::or_absent<T>(weight, math::hinge_loss(violation));
  if (params.loss && first) params.loss[index] = loss;
  if (params.grad) {
    const math::HingeRowGradient<T> gradient = math::hinge_gradient(violation, params.scale * given.upstream * weight);
    // Rows of up to 64 classes lie in a tile of shared memory that holds first the logits, then the gradients: hence
    // the first sync; the second, so that the two columns come last.
    Threads::sync();
    logits.store_each(grad, [&](T) { return gradient.elsewhere; });
    Threads::sync();
    if (first) {
      if (params.fake_column) store(grad + classes, gradient.elsewhere);
      const int columns = classes + params.fake_column, other = other_is_fake ? classes : real.column;
      if (label < columns && gradient.weight != T(0)) store(grad + label, -gradient.weight);
      if (other < columns && gradient.weight != T(0)) store(grad + other, gradient.weight);
    }
  }
  return loss;
}

// kParts = 0: a grid of total.blocks. Otherwise one block of up to that many parts stands for it (total.cuh).
template <typename Scalar, typename Layout, int kParts>
__global__ void __launch_bounds__(kMostThreads<Layout, kParts>, kParts > 0 ? 1 : kMinBlocks<Scalar, Layout>)
    hinge_kernel(const __grid_constant__ Params<Scalar> params) {
  double sum = 0;
  for_rows<Scalar, Layout>(
      params.logits, params.rows, params.row_stride, params.classes + params.fake_column, params.classes, params.grad,
      kParts > 0 ? threadIdx.y : blockIdx.x, params.total.blocks[0],
      [&](int64_t index) { return given(params, index); },
      [&](auto& row, int64_t index, Scalar* grad, const auto& given) {
        const auto loss = visit_row(params, row, index, grad, given);
        if (Group<Layout::kThreads>::rank() == 0) sum += loss;
      },
      params.slots);
  add_to_total<Layout::kBlockThreads, kParts>(params.total, sum);
}

struct Kernels {
  template <typename Scalar, typename Layout, int kParts>
  static constexpr auto of = &hinge_kernel<Scalar, Layout, kParts>;
};

template <typename Scalar, typename Layout>
cudaError_t launch_typed(const HingeArgs& args, const Split<Scalar, Layout>& split, cudaStream_t stream) {
  using T = Computing<Scalar>;
  const KPlus1Batch& batch = args.batch;
  Params<Scalar> params{};
  params.logits = static_cast<const Scalar*>(batch.logits);
  params.rows = batch.rows;
  params.classes = args.classes;
  params.row_stride = batch.row_stride;
  params.fake_column = args.fake_column != 0;
  params.labels = batch.labels.data;
  params.label_stride = batch.labels.stride;
  params.labels_are_int32 = batch.labels.are_int32 != 0;
  params.margin = static_cast<T>(args.margin);
  params.scale = static_cast<T>(batch.scale);
  params.grad_output = static_cast<const T*>(batch.grad_output);
  params.grad_output_stride = batch.grad_output_stride;
  params.row_weight = static_cast<const T*>(batch.row_weight);
  params.row_weight_stride = batch.row_weight_stride;
  params.loss = static_cast<T*>(batch.loss);
  params.grad = static_cast<Scalar*>(batch.grad);
  params.total = {static_cast<T*>(args.total), args.workspace, {split.count(), 0}, {batch.scale, 0}, args.ticket};

  return launch_split<Kernels>(split, params, args.classes, args.classes + args.fake_column, stream);
}

// Calls function(Split<Scalar, Layout>) for what the arguments ask.
template <typename Function>
cudaError_t with_split(const HingeArgs& args, Function function) {
  return with_split<1>(args.dtype, args.classes, args.batch.rows, 0, function);
}

}  // namespace

template <>
int64_t workspace_size(const HingeArgs& args) {
  int64_t size = 0;
  with_split(args, [&](auto split) {
    size = args.total ? split.workspace() : 0;
    return cudaSuccess;
  });
  return size;
}

template <>
cudaError_t launch(const HingeArgs& args, cudaStream_t stream) {
  return with_split(args, [&](auto split) { return launch_typed(args, split, stream); });
}

}  // namespace amgan::cuda
