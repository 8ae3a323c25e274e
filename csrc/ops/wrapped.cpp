// Checks of values within torch.func. There an operation sees the part of one call, wrapped, and only an operation gets
// at what is below: torch.func takes one level of wrappers off its arguments and calls it again. So these two checks
// are operations. What vmap has wrapped has a dimension more then.
#include <ATen/functorch/BatchedTensorImpl.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/library.h>

#include <string>

#include "ops/autograd.h"
#include "ops/check.h"
#include "ops/register.h"

namespace amgan::ops {
namespace {

using LabelCheck = void(const at::Tensor&, std::string_view, std::string_view, int64_t, int64_t);
using WeightCheck = void(const at::Tensor&, std::string_view, std::string_view);

void check_labels_there(const at::Tensor& labels, std::string_view op, std::string_view name, int64_t min_label,
                        int64_t max_label) {
  check_label_range(std::string(op).c_str(), std::string(name).c_str(), labels, min_label, max_label);
}

void check_weight_there(const at::Tensor& weight, std::string_view op, std::string_view name) {
  check_weight_range(std::string(op).c_str(), std::string(name).c_str(), weight);
}

// At each level of torch.func that has derivatives.
void check_constant_weight(const at::Tensor& weight, std::string_view op, std::string_view name) {
  check_constant(std::string(op).c_str(), name, weight);
  const BelowAutograd below;
  check_wrapped_weight(weight, op, name);
}

// All that vmap does at once: what the wrapper holds.
template <auto call>
struct OfAll {
  template <typename... Options>
  static void check(const at::Tensor& tensor, Options... options) {
    const c10::impl::ExcludeDispatchKeyGuard below(c10::DispatchKey::FuncTorchBatched);
    call(at::functorch::unsafeGetBatchedImpl(tensor)->value(), options...);
  }
};

TORCH_LIBRARY_FRAGMENT(amgan_fast, m) {
  m.def("check_labels(Tensor labels, str op, str name, int smallest, int largest) -> ()", {at::Tag::pt2_compliant_tag});
  m.def("check_weight(Tensor weight, str op, str name) -> ()", {at::Tag::pt2_compliant_tag});
  implement(m, "check_labels", check_labels_there);
  implement(m, "check_weight", check_weight_there);
  without_gradient(m, "check_labels");
  m.impl("check_weight", torch::dispatch(c10::DispatchKey::Autograd, check_constant_weight));
}

TORCH_LIBRARY_IMPL(amgan_fast, FuncTorchBatched, m) {
  m.impl("check_labels", OfAll<check_wrapped_labels>::check<std::string_view, std::string_view, int64_t, int64_t>);
  m.impl("check_weight", OfAll<check_wrapped_weight>::check<std::string_view, std::string_view>);
}

}  // namespace

void check_wrapped_labels(const at::Tensor& labels, std::string_view op, std::string_view name, int64_t min_label,
                          int64_t max_label) {
  static const auto check = operation<LabelCheck>("check_labels");
  check.call(labels, op, name, min_label, max_label);
}

void check_wrapped_weight(const at::Tensor& weight, std::string_view op, std::string_view name) {
  static const auto check = operation<WeightCheck>("check_weight");
  check.call(weight, op, name);
}

}  // namespace amgan::ops
