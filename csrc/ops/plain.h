// What losses share that are made of PyTorch's own operations.
#pragma once

#include <ATen/TensorOperators.h>

#include "ops/tensors.h"

namespace amgan::ops {

// The losses of rows times their weights. A row of weight 0 has none, whatever its value.
inline at::Tensor weighted_losses(const at::Tensor& losses, const at::Tensor* weight) {
  if (weight == nullptr) return losses;
  return (losses * weight->to(losses.scalar_type())).masked_fill(weight->eq(0), 0.0);
}

inline at::Tensor reduced(const at::Tensor& losses, Reduction reduction) {
  if (reduction == Reduction::none) return losses;
  return reduction == Reduction::mean ? losses.mean() : losses.sum();
}

}  // namespace amgan::ops
