// Gradients that forward computes along with the loss and backward only multiplies. On the CPU a row's exponentials are
// what costs, so taking them once instead of twice nearly halves forward and backward together; the memory is what
// PyTorch's own cross-entropy keeps.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/impl/TorchDispatchModeTLS.h>
#include <torch/csrc/autograd/graph_task.h>

#include "ops/check.h"

namespace amgan::ops {

// Whether autograd has anything to do with a result that depends on this tensor.
inline bool is_differentiated(const at::Tensor& tensor) {
  return (at::GradMode::is_enabled() && tensor.requires_grad()) || tensor._fw_grad(0).defined();
}

// Half precision is left out: its gradient must be rounded once, after the multiplication, or scaled losses would
// underflow. On CUDA backward reads the logits again instead, which moves fewer bytes than a kept gradient.
inline bool keeps_gradient(const at::Tensor& logits) {
  const auto dtype = logits.scalar_type();
  return logits.is_cpu() && (dtype == at::kFloat || dtype == at::kDouble);
}

// While tracing, values must not be looked at.
inline bool is_one(const at::Tensor& scalar) {
  if (!is_plain(scalar) || c10::impl::TorchDispatchModeTLS::any_modes_set()) return false;
  return scalar.scalar_type() == at::kFloat
             ? *scalar.const_data_ptr<float>() == 1
             : scalar.scalar_type() == at::kDouble && *scalar.const_data_ptr<double>() == 1;
}

// The gradient for a given gradient of the reduced loss. loss.backward() starts with 1: then it is the kept one itself,
// unless the graph is retained, and with it the kept gradient for another backward.
inline at::Tensor scaled_gradient(const at::Tensor& gradient, const at::Tensor& grad_output, Reduction reduction) {
  if (reduction == Reduction::none) return gradient * grad_output.unsqueeze(1);
  if (!is_one(grad_output)) return gradient * grad_output;
  return torch::autograd::get_current_graph_task_keep_graph() ? gradient.clone() : gradient;
}

}  // namespace amgan::ops
