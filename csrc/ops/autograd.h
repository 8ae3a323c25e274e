// What the derivatives of all operations share.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/custom_function.h>

#include <string_view>

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

// Whether a transform of torch.func is at work, which no autograd function in C++ can serve.
inline bool is_transformed() {
  return c10::impl::tls_is_dispatch_key_included(c10::DispatchKey::FuncTorchDynamicLayerBackMode);
}

// Whether a forward-mode derivative is asked for.
inline bool has_tangent(const at::Tensor& tensor) {
  return tensor._fw_grad(0).defined();
}

// Whether autograd has anything to do with a result that depends on this tensor.
inline bool is_differentiated(const at::Tensor& tensor) {
  return (at::GradMode::is_enabled() && tensor.requires_grad()) || has_tangent(tensor);
}

// Only logits have a derivative: one that is asked for beside them must not be lost without a word.
inline void check_constant(const char* op, std::string_view name, const at::Tensor& weight) {
  TORCH_CHECK_NOT_IMPLEMENTED(!is_differentiated(weight), op, ": ", name,
                              " requires a gradient, which the loss has with respect to logits alone, wanted ", name,
                              ".detach()");
}

}  // namespace amgan::ops
