// How an operation is registered: one implementation for CPU, CUDA and Meta, which allocates symbolically, checks
// for all three, and stops before the kernel on Meta; what its autograd function derives from; and a way to call a
// registered operation by its name.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

namespace amgan::ops {

template <typename Function>
void implement(torch::Library& m, const char* name, Function function) {
  for (const auto key : {c10::DispatchKey::CPU, c10::DispatchKey::CUDA, c10::DispatchKey::Meta}) {
    m.impl(name, torch::dispatch(key, function));
  }
}

// Outputs of this operation carry no gradient, whatever its inputs ask for.
inline void without_gradient(torch::Library& m, const char* name) {
  m.impl(name, torch::dispatch(c10::DispatchKey::Autograd, torch::CppFunction::makeFallthrough()));
}

// An autograd function whose backward is made of operations: compiled autograd traces it.
template <typename T>
struct TraceableFunction : torch::autograd::Function<T> {
  static constexpr bool is_traceable = true;
};

template <typename Signature>
auto operation(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").template typed<Signature>();
}

}  // namespace amgan::ops
