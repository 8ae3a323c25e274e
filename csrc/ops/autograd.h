// What the derivatives of all operations share.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

namespace amgan::ops {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

// Calls of operations, while it lives, go past autograd.
using BelowAutograd = at::AutoDispatchBelowADInplaceOrView;

// An autograd function whose backward is made of operations: compiled autograd traces it.
template <typename T>
struct TraceableFunction : torch::autograd::Function<T> {
  static constexpr bool is_traceable = true;
};

// Whether autograd has anything to do with a result that depends on this tensor.
inline bool is_differentiated(const at::Tensor& tensor) {
  return (at::GradMode::is_enabled() && tensor.requires_grad()) || tensor._fw_grad(0).defined();
}

}  // namespace amgan::ops
