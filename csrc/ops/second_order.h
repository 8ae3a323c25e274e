// What the double backwards share: plain ATen formulas, differentiable themselves, so that every order exists.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include "ops/check.h"

namespace amgan::ops {

// The Jacobian of a softmax with values p, times v: p * (v - p.v).
inline at::Tensor softmax_jvp(const at::Tensor& p, const at::Tensor& v) {
  return p * (v - (p * v).sum(1, true));
}

// What multiplies each row's derivative, given the gradient of the reduced loss.
inline at::Tensor per_row(const at::Tensor& grad_output, const at::Tensor& logits, Reduction reduction) {
  if (reduction == Reduction::none) return grad_output.unsqueeze(1);
  return reduction == Reduction::mean ? grad_output / at::Scalar(logits.sym_size(0)) : grad_output;
}

// The gradient of (gradient . v) with respect to grad_output, from the gradient at grad_output = 1.
inline at::Tensor per_output(const at::Tensor& gradient, const at::Tensor& v, Reduction reduction) {
  const at::Tensor product = gradient.to(v.scalar_type()) * v;
  return reduction == Reduction::none ? product.sum(1) : product.sum();
}

}  // namespace amgan::ops
