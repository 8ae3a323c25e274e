// Row losses on K+1-class logits: loss, total, gradient and terms of one or two batches.
//
// Per row: the maximum m of the K real logits, sum exp(l_k - m) - 1, and where the coefficients ask for them the label
// and sum (l_k - m); then math/kplus1.h turns these into the loss and into two numbers that each gradient follows from.
//
// One launch. Every logit is read once and every gradient written once, with one exp2 per logit for up to 8,192 classes
// (float64: 4,096) and two for more. What of a row fits neither in registers nor in shared memory (long_row.cuh:
// float32 beyond 65,536 classes where a thread block may have 227 KB) is read again for the gradient and for label
// smoothing.
#include "args/kplus1.h"
#include "cuda/entropy_row.cuh"
#include "cuda/launchers.h"
#include "cuda/loss_rows.cuh"

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
  int64_t min_label, max_label;
  math::Coefficients<T> coefficients;
  T scale;
  const T* grad_output;
  int64_t grad_output_stride;
  const T* row_weight;
  int64_t row_weight_stride;
  T* loss;
  Scalar* grad;
  T* labelgan;  // the three of kplus1_terms: all or none null
  T* auxiliary;
  int64_t* labels_out;
};

template <typename Scalar>
struct Params {
  Batch<Scalar> batch[2];
  int64_t classes;
  Computing<Scalar> per_class;  // 1 / classes
  bool fake_column;
  int slots;                       // of shared memory, for long rows
  Total<Computing<Scalar>> total;  // its blocks are those of the grid: first those of batch 0, then those of batch 1
};

// What there is of a row beside its logits.
template <typename Scalar, typename Column>
struct Given {
  Column label;  // or -1: none
  Computing<Scalar> upstream, weight;
};

template <typename Column, typename Scalar>
__device__ __forceinline__ Given<Scalar, Column> given(const Batch<Scalar>& batch, int64_t row) {
  Given<Scalar, Column> given{-1, 1, 1};
  if (batch.labels) {
    const int64_t label = label_of(batch, row);
    assert(label >= batch.min_label && label <= batch.max_label && "amgan_fast: label out of range");
    given.label = static_cast<Column>(label);
  }
  if (batch.grad_output) given.upstream = batch.grad_output[row * batch.grad_output_stride];
  given.weight = weight_of<Computing<Scalar>>(batch, row);
  return given;
}

// The sums of math/kplus1.h over the real logits, for all threads of the row, with the largest logit for a target,
// whose column is written to `label` where asked for. Logits in registers are left as exponentials.
template <typename Row>
__device__ __forceinline__ math::KPlus1Row<typename Row::T> real_sums(Row& logits, typename Row::Column classes,
                                                                      bool uses_shifts, bool sets_label,
                                                                      typename Row::Column& label) {
  using T = typename Row::T;
  using Threads = typename Row::Threads;
  math::KPlus1Row<T> row{};
  const auto shift_by = [&](T largest) {
    row.max = largest == -INFINITY ? T(0) : largest;
    row.target = largest - row.max;
  };
  if constexpr (Row::Layout::kInRegisters) {
    const T largest = row_max(logits);
    shift_by(largest);
    if (sets_label) label = first_of(logits, largest, classes);
    if (uses_shifts) logits.for_each([&](auto, T value) { row.shifts += value - row.max; });
    T sum = 0;
    logits.for_each_value([&](T& value) {
      value = exp_of<typename Row::Element>(value - row.max);
      sum += value;
    });
    logits.fetch_expected();
    sum = Threads::reduce(sum, Sum());
    row.excess = excess(logits, sum, [](T e) { return e; });
  } else {
    const OnlineSums<Row> sums(logits);
    shift_by(sums.max());
    if (sets_label) label = sums.first();
    row.excess = sums.excess();
    if (uses_shifts) logits.for_each([&](auto, T value) { row.shifts += value - row.max; });
  }
  if (uses_shifts) row.shifts = Threads::reduce(row.shifts, Sum());
  return row;
}

// Everything asked about one row; `grad` is where its gradient goes. Returns its loss where loss or total are asked
// for, to the first thread of the row.
//
// A row of K = 1,000 classes and the generated one, float32: a warp shares it, 32 logits a thread in registers. Thread
// 0 has columns 0 to 3, 128 to 131 and so on, if the row begins on 16 bytes (row.cuh). All threads go through these
// steps together; "first" is the one that writes what there is once a row.
//
//   1. label, read a row early, and the generated logit l_f: by all, from the cache line that one of them brought;
//   2. the given label's logit, which nobody waits for before step 4;
//   3. maximum, sum of exponentials: with the gradients the only work that grows with K, two rounds of shuffles. As
//      exponentials the logits make room for those of the next row, which is sent for;
//   4. loss, terms, and the four numbers of the gradient: two logarithms and an exponential, by one warp for all where
//      a block shares the row;
//   5. gradients, weight * e_k + constant each, over the logits where those wait in shared memory; then two
//      corrections.
template <typename Scalar, typename Row>
__device__ __forceinline__ Computing<Scalar> visit_row(const Params<Scalar>& params, const Batch<Scalar>& batch,
                                                       Row& logits, int64_t index, Scalar* grad,
                                                       const Given<Scalar, typename Row::Column>& given) {
  using T = Computing<Scalar>;
  using Threads = typename Row::Threads;
  constexpr bool kInRegisters = Row::Layout::kInRegisters;

  // 1. 32-bit columns wherever the row is short enough: 64-bit ones would cost two registers each.
  using Column = typename Row::Column;
  const auto classes = static_cast<Column>(params.classes);
  const bool first = Threads::rank() == 0;
  Column label = given.label;
  const bool has_label = label >= 0;
  const T fake = params.fake_column ? logits.logit(classes) : T(0);

  // 2. A label may be K, the generated class: its target is l_f, and the coefficient of l_y moves to l_f. Without
  // labels the target is the largest logit, which step 3 finds, and who holds it where the label itself is asked for.
  const bool uses_target = batch.coefficients.t != 0 || batch.labels_out;
  const T target = has_label && uses_target && label < classes ? logits.logit(label) : fake;
  // 3. From here on logits in registers are exponentials.
  math::KPlus1Row<T> row = real_sums(logits, classes, batch.coefficients.u != 0, uses_target && !has_label, label);
  row.fake = fake;
  if (has_label) row.target = target - row.max;
  // Where others have a label and this row has none, the largest logit is its target, with the coefficient 0.
  const math::Coefficients<T> coefficients =
      batch.coefficients.targeting_fake(has_label && label == classes).unlabelled(batch.labels && !has_label);
  // Rare: a NaN (or +inf) has made the sum NaN, and no comparison has found it. As torch.argmax, the first NaN is the
  // label; the logits are read again, each thread from its own on, up to the first that it meets.
  if (!has_label && row.excess != row.excess) {
    Column nan = classes;
    for (Column k = Threads::rank(); k < nan; k += Row::Layout::kThreads) {
      if (const T value = logits.logit(k); value != value) nan = k;
    }
    nan = Threads::reduce(nan, Min());
    if (nan < classes) label = nan;
  }

  // 4. Where several warps share a row, one computes its formulas and the others get the results through shared memory.
  T loss = 0;
  const auto gradient = Threads::once([&] {
    const math::KPlus1Logs<T> logs(row);
    if (batch.loss || params.total.result) {
      loss = math::or_absent<T>(given.weight, math::kplus1_loss(row, logs, coefficients, params.per_class));
      if (batch.loss && first) batch.loss[index] = loss;
    }
    if (batch.labels_out && first) {
      const math::KPlus1RowTerms<T> terms = math::kplus1_terms(row, logs);
      batch.labelgan[index] = terms.labelgan;
      batch.auxiliary[index] = terms.auxiliary;
      batch.labels_out[index] = label;
    }
    if (!batch.grad) return math::KPlus1RowGradient<T>{};
    return math::kplus1_gradient(row, logs, coefficients, params.per_class,
                                 batch.scale * given.upstream * given.weight);
  });

  if (batch.grad) {
    // 5. With K = 1,000, label 7 and no smoothing: every gradient is weight * e_k, that of column 7 has -t added, and
    // column 1,000, the generated one, is a number of its own.
    const auto smooth = [&](T e) { return gradient.weight * e + gradient.constant; };
    // Rows of up to 64 classes lie in a tile of shared memory that holds first the logits, then the gradients: hence
    // the first sync; the second, so that the corrections come last.
    const bool real_target = label >= 0 && label < classes && coefficients.t != 0;
    Threads::sync();
    logits.store_each(grad, [&](T value) { return smooth(kInRegisters ? value : exp_of<Scalar>(value - row.max)); });
    Threads::sync();
    if (first) {
      // The true class is 1 - p: taken in T and rounded once, not subtracted from a rounded p.
      if (real_target) store(grad + label, smooth(exp_of<Scalar>(row.target)) + gradient.target);
      if (params.fake_column) store(grad + classes, gradient.fake);
    }
  }
  return loss;
}

// kParts = 0: a grid of total.blocks. Otherwise one block of up to that many parts stands for it (total.cuh).
template <typename Scalar, typename Layout, int kParts>
__global__ void __launch_bounds__(kMostThreads<Layout, kParts>, kParts > 0 ? 1 : kMinBlocks<Scalar, Layout>)
    kplus1_kernel(const __grid_constant__ Params<Scalar> params) {
  const int64_t* const blocks = params.total.blocks;
  const int64_t block = kParts > 0 ? threadIdx.y : blockIdx.x;
  const bool second = block >= blocks[0];
  const Batch<Scalar>& batch = params.batch[second];
  double sum = 0;
  for_rows<Scalar, Layout>(
      batch.logits, batch.rows, batch.row_stride, params.classes + params.fake_column, params.classes, batch.grad,
      second ? block - blocks[0] : block, blocks[second],
      [&](int64_t index) { return given<typename Layout::Column>(batch, index); },
      [&](auto& row, int64_t index, Scalar* grad, const auto& given) {
        const auto loss = visit_row(params, batch, row, index, grad, given);
        if (Group<Layout::kThreads>::rank() == 0) sum += loss;
      },
      params.slots);
  add_to_total<Layout::kBlockThreads, kParts>(params.total, sum);
}

struct Kernels {
  template <typename Scalar, typename Layout, int kParts>
  static constexpr auto of = &kplus1_kernel<Scalar, Layout, kParts>;
};

template <typename Scalar>
Batch<Scalar> typed(const KPlus1Batch& batch) {
  using T = Computing<Scalar>;
  Batch<Scalar> typed{};
  typed.logits = static_cast<const Scalar*>(batch.logits);
  typed.rows = batch.rows;
  typed.row_stride = batch.row_stride;
  typed.labels = batch.labels.data;
  typed.label_stride = batch.labels.stride;
  typed.labels_are_int32 = batch.labels.are_int32 != 0;
  typed.min_label = batch.labels.min;
  typed.max_label = batch.labels.max;
  typed.coefficients = batch.coefficients.as<T>();
  typed.scale = static_cast<T>(batch.scale);
  typed.grad_output = static_cast<const T*>(batch.grad_output);
  typed.grad_output_stride = batch.grad_output_stride;
  typed.row_weight = static_cast<const T*>(batch.row_weight);
  typed.row_weight_stride = batch.row_weight_stride;
  typed.loss = static_cast<T*>(batch.loss);
  typed.grad = static_cast<Scalar*>(batch.grad);
  return typed;
}

template <typename Scalar, typename Layout>
cudaError_t launch_typed(const KPlus1Args& args, const Split<Scalar, Layout>& split, cudaStream_t stream) {
  using T = Computing<Scalar>;
  Params<Scalar> params{};
  Total<T>& total = params.total;
  for (int i = 0; i < args.batches; ++i) {
    params.batch[i] = typed<Scalar>(args.batch[i]);
    total.scale[i] = args.batch[i].scale;
  }
  std::copy_n(split.blocks, 2, total.blocks);
  total.result = static_cast<T*>(args.total);
  total.sums = args.workspace;
  total.ticket = args.ticket;
  params.batch[0].labelgan = static_cast<T*>(args.labelgan);
  params.batch[0].auxiliary = static_cast<T*>(args.auxiliary);
  params.batch[0].labels_out = args.labels_out;
  params.classes = args.classes;
  params.per_class = static_cast<T>(1.0 / static_cast<double>(args.classes));
  params.fake_column = args.fake_column != 0;

  return launch_split<Kernels>(split, params, args.classes, args.classes + args.fake_column, stream);
}

// Calls function(Split<Scalar, Layout>) for what the arguments ask.
template <typename Function>
cudaError_t with_split(const KPlus1Args& args, Function function) {
  return with_split<1>(args.dtype, args.classes, args.batch[0].rows, args.batches > 1 ? args.batch[1].rows : 0,
                       function);
}

}  // namespace

template <>
int64_t workspace_size(const KPlus1Args& args) {
  int64_t size = 0;
  with_split(args, [&](auto split) {
    size = args.total ? split.workspace() : 0;
    return cudaSuccess;
  });
  return size;
}

template <>
cudaError_t launch(const KPlus1Args& args, cudaStream_t stream) {
  return with_split(args, [&](auto split) { return launch_typed(args, split, stream); });
}

}  // namespace amgan::cuda
