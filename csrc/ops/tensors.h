// What operations ask of tensors, and the outputs that they allocate. Sizes are symbolic, so that the same code serves
// tracing.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <limits>
#include <optional>
#include <tuple>

#include "args/common.h"

namespace amgan::ops {

using OptionalTensor = std::optional<at::Tensor>;

// Of the losses of all rows.
enum class Reduction { none, mean, sum };

inline Dtype dtype_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kDouble:
      return Dtype::float64;
    case at::kBFloat16:
      return Dtype::bfloat16;
    case at::kHalf:
      return Dtype::float16;
    default:
      return Dtype::float32;
  }
}

// The dtype of losses: float64 for float64, float32 for all others.
inline at::ScalarType loss_dtype(const at::Tensor& logits) {
  return logits.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

// The kernels want a unit column stride; any row stride will do.
inline at::Tensor unit_columns(const at::Tensor& logits) {
  return logits.stride(1) == 1 || logits.size(1) == 1 ? logits : logits.contiguous();
}

// As a pointer, null where there is none.
inline const at::Tensor* pointer(const OptionalTensor& tensor) {
  return tensor ? &*tensor : nullptr;
}

// Weights of rows as the kernels want them; undefined where there are none.
inline at::Tensor kernel_weight(const at::Tensor* weight, const at::Tensor& logits) {
  return weight == nullptr ? at::Tensor() : weight->to(loss_dtype(logits));
}

// An uninitialised loss: a scalar, or [rows] without reduction.
inline at::Tensor empty_loss(const at::Tensor& logits, const c10::SymInt& rows, Reduction reduction) {
  const auto options = logits.options().dtype(loss_dtype(logits));
  return reduction == Reduction::none ? at::empty_symint({rows}, options) : at::empty_symint({}, options);
}

// The derivatives of a gradient: with respect to the gradient of the loss, in the dtype of losses, and to the logits.
using DoubleBackward = std::tuple<at::Tensor, at::Tensor>;

// An uninitialised contiguous gradient.
inline at::Tensor empty_grad(const at::Tensor& logits) {
  return at::empty_symint(logits.sym_sizes(), logits.options());
}

// What each row's loss is multiplied by in the result.
inline double row_scale(Reduction reduction, int64_t rows) {
  if (reduction != Reduction::mean) return 1;
  // The mean over no rows is NaN, as in torch.
  return rows == 0 ? std::numeric_limits<double>::quiet_NaN() : 1.0 / static_cast<double>(rows);
}

}  // namespace amgan::ops
