// How an operation is registered, and how one that is registered is called.
//
// torch reads the signature of an implementation off the C++ function. One of many arguments takes them as a tuple, in
// the order of its schema, and is registered as Unpacked<function>::call; Operation calls a registered one with such a
// tuple.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <string>
#include <tuple>
#include <vector>

namespace amgan::ops {

// Tags of operations that torch.compile may trace, and that take tensors of any strides: without the second, inductor
// gives them the strides of eager mode, by a copy where it has chosen others.
inline std::vector<at::Tag> any_layout() {
  return {at::Tag::pt2_compliant_tag, at::Tag::flexible_layout};
}

// One implementation for CPU, CUDA and Meta, which allocates symbolically, checks for all three, and stops before the
// kernel on Meta.
template <typename Function>
void implement(torch::Library& m, const char* name, Function function) {
  for (const auto key : {c10::DispatchKey::CPU, c10::DispatchKey::CUDA, c10::DispatchKey::Meta}) {
    m.impl(name, torch::dispatch(key, function));
  }
}

// The same for an operation that is made of others on CUDA.
template <typename Function>
void implement_but_on_cuda(torch::Library& m, const char* name, Function function) {
  for (const auto key : {c10::DispatchKey::CPU, c10::DispatchKey::Meta}) m.impl(name, torch::dispatch(key, function));
}

// Outputs of this operation carry no gradient, whatever its inputs ask for.
inline void without_gradient(torch::Library& m, const char* name) {
  m.impl(name, torch::dispatch(c10::DispatchKey::Autograd, torch::CppFunction::makeFallthrough()));
}

// A registered operation, by the signature of its implementation.
template <typename Signature>
auto operation(const std::string& name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(("amgan_fast::" + name).c_str(), "").typed<Signature>();
}

// A function of a tuple, or of gradients and a tuple, as one of so many arguments.
template <auto function>
struct Unpacked;

template <typename Result, typename... Types, Result (*function)(const std::tuple<Types...>&)>
struct Unpacked<function> {
  static Result call(Types... given) { return function({given...}); }
};

template <typename Result, typename... Types, Result (*function)(const at::Tensor&, const std::tuple<Types...>&)>
struct Unpacked<function> {
  static Result call(const at::Tensor& grad_output, Types... given) { return function(grad_output, {given...}); }
};

template <typename Result, typename... Types,
          Result (*function)(const at::Tensor&, const at::Tensor&, const std::tuple<Types...>&)>
struct Unpacked<function> {
  static Result call(const at::Tensor& grad_grad, const at::Tensor& grad_output, Types... given) {
    return function(grad_grad, grad_output, {given...});
  }
};

template <typename Result, typename Arguments>
class Operation;

template <typename Result, typename... Types>
class Operation<Result, std::tuple<Types...>> {
 public:
  explicit Operation(const std::string& name) : handle_(operation<Result(Types...)>(name)) {}

  Result operator()(const std::tuple<Types...>& arguments) const {
    return std::apply([&](Types... given) { return handle_.call(given...); }, arguments);
  }

 private:
  c10::TypedOperatorHandle<Result(Types...)> handle_;
};

}  // namespace amgan::ops
