// The class entropy: checks, allocation, one kernel call each. Autograd is in entropy_autograd.cpp.
#include "ops/entropy.h"

#include <torch/library.h>

#include "args/along.h"
#include "ops/check.h"
#include "ops/device.h"
#include "ops/register.h"

namespace amgan::ops {

Reduction check(const char* op, const EntropyArguments& arguments) {
  const auto& [logits, reduction] = arguments;
  check_logits(op, "logits", logits, 1);
  return parse_reduction(op, reduction);
}

namespace {

// What a call computes: the tensors that are defined.
struct Outputs {
  at::Tensor entropy = {}, grad = {};
};

// All that there is to ask about rows with unit column stride. `grad_output`: undefined for 1.
EntropyArgs kernel_args(const at::Tensor& rows, Reduction reduction, const Outputs& out,
                        const at::Tensor& grad_output) {
  const bool reduced = reduction != Reduction::none;
  EntropyArgs args{};
  args.dtype = dtype_of(rows);
  args.logits = rows.const_data_ptr();
  args.rows = rows.size(0);
  args.classes = rows.size(1);
  args.row_stride = rows.stride(0);
  args.scale = row_scale(reduction, args.rows);
  if (out.entropy.defined()) (reduced ? args.total : args.entropy) = out.entropy.mutable_data_ptr();
  if (out.grad.defined()) args.grad = out.grad.mutable_data_ptr();
  if (grad_output.defined()) {
    args.grad_output = grad_output.const_data_ptr();
    args.grad_output_stride = reduced ? 0 : grad_output.stride(0);
  }
  return args;
}

void run(const at::Tensor& logits, Reduction reduction, const Outputs& out, const at::Tensor& grad_output = {}) {
  if (logits.is_meta()) return;
  const at::Tensor rows = unit_columns(logits);
  run_kernel(rows, kernel_args(rows, reduction, out, grad_output));
}

at::Tensor class_entropy(const at::Tensor& logits, std::string_view reduction_name) {
  const auto reduction = check("class_entropy", {logits, reduction_name});
  const Outputs out{.entropy = empty_loss(logits, logits.sym_size(0), reduction)};
  run(logits, reduction, out);
  return out.entropy;
}

at::Tensor class_entropy_backward(const at::Tensor& grad_output, const at::Tensor& logits,
                                  std::string_view reduction_name) {
  constexpr auto op = "class_entropy_backward";
  const auto reduction = check(op, {logits, reduction_name});
  const at::Tensor upstream = check_grad_output(op, grad_output, reduction, logits.sym_size(0), logits);
  const Outputs out{.grad = empty_grad(logits)};
  run(logits, reduction, out, upstream);
  return out.grad;
}

std::tuple<at::Tensor, at::Tensor> class_entropy_and_grad(const at::Tensor& logits, std::string_view reduction_name) {
  const auto reduction = check("class_entropy_and_grad", {logits, reduction_name});
  const Outputs out{.entropy = empty_loss(logits, logits.sym_size(0), reduction), .grad = empty_grad(logits)};
  run(logits, reduction, out);
  return {out.entropy, out.grad};
}

DoubleBackward class_entropy_double_backward(const at::Tensor& grad_grad, const at::Tensor& grad_output,
                                             const EntropyArguments& arguments) {
  constexpr auto op = "class_entropy_double_backward";
  const at::Tensor& logits = std::get<0>(arguments);
  const auto reduction = check(op, arguments);
  check_same(op, "grad_grad", grad_grad, "logits", logits);
  const at::Tensor upstream = check_grad_output(op, grad_output, reduction, logits.sym_size(0), logits);
  const Outputs out{.entropy = empty_loss(logits, logits.sym_size(0), reduction), .grad = empty_grad(logits)};
  if (logits.is_meta()) return {out.entropy, out.grad};
  const at::Tensor rows = unit_columns(logits), v = unit_columns(grad_grad);
  cpu::run(Along<EntropyArgs>{kernel_args(rows, reduction, out, upstream), v.const_data_ptr(), v.stride(0)});
  return {out.entropy, out.grad};
}

TORCH_LIBRARY_FRAGMENT(amgan_fast, m) {
  const std::vector<at::Tag> tags{at::Tag::pt2_compliant_tag};
  m.def(R"(class_entropy(Tensor logits, *, str reduction="mean") -> Tensor)", tags);
  m.def(R"(class_entropy_backward(Tensor grad_output, Tensor logits, *, str reduction="mean") -> Tensor)", tags);
  m.def(R"(class_entropy_and_grad(Tensor logits, *, str reduction="mean") -> (Tensor entropy, Tensor grad))", tags);
  m.def(R"(class_entropy_double_backward(
    Tensor grad_grad, Tensor grad_output, Tensor logits, *, str reduction="mean") -> (
    Tensor of_grad_output, Tensor of_logits))",
        tags);
  implement(m, "class_entropy", class_entropy);
  implement(m, "class_entropy_backward", class_entropy_backward);
  implement(m, "class_entropy_and_grad", class_entropy_and_grad);
  implement_but_on_cuda(m, "class_entropy_double_backward", Unpacked<class_entropy_double_backward>::call);
}

}  // namespace
}  // namespace amgan::ops
