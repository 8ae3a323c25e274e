// The class entropy: checks, allocation, one kernel call each. Autograd is in entropy_autograd.cpp.
#include "ops/entropy.h"

#include <torch/library.h>

#include "args/along.h"
#include "ops/check.h"
#include "ops/device.h"
#include "ops/register.h"

namespace amgan::ops {

Reduction check(const char* op, const EntropyArguments& arguments) {
  const auto& [logits, reduction, row_weight] = arguments;
  check_logits(op, "logits", logits, 1);
  if (row_weight) check_weight(op, "row_weight", *row_weight, logits.sym_size(0), "row of logits", logits);
  return parse_reduction(op, reduction);
}

void check_values(const char* op, const EntropyArguments& arguments) {
  if (const OptionalTensor& row_weight = std::get<2>(arguments)) check_weight_range(op, "row_weight", *row_weight);
}

namespace {

// What a call computes: the tensors that are defined.
struct Outputs {
  at::Tensor entropy = {}, grad = {};
};

Reduction check_all(const char* op, const EntropyArguments& arguments) {
  const Reduction reduction = check(op, arguments);
  check_values(op, arguments);
  return reduction;
}

// All that there is to ask about rows with unit column stride. `grad_output`, `row_weight`: undefined for 1.
EntropyArgs kernel_args(const at::Tensor& rows, Reduction reduction, const Outputs& out, const at::Tensor& grad_output,
                        const at::Tensor& row_weight) {
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
  if (row_weight.defined()) {
    args.row_weight = row_weight.const_data_ptr();
    args.row_weight_stride = row_weight.stride(0);
  }
  return args;
}

void run(const EntropyArguments& arguments, Reduction reduction, const Outputs& out,
         const at::Tensor& grad_output = {}) {
  const auto& [logits, _, row_weight] = arguments;
  if (logits.is_meta()) return;
  const at::Tensor rows = unit_columns(logits), weight = kernel_weight(pointer(row_weight), logits);
  run_kernel(rows, kernel_args(rows, reduction, out, grad_output, weight));
}

at::Tensor empty_entropy(const at::Tensor& logits, Reduction reduction) {
  return empty_loss(logits, logits.sym_size(0), reduction);
}

at::Tensor class_entropy(const EntropyArguments& arguments) {
  const auto reduction = check_all("class_entropy", arguments);
  const Outputs out{.entropy = empty_entropy(std::get<0>(arguments), reduction)};
  run(arguments, reduction, out);
  return out.entropy;
}

at::Tensor class_entropy_backward(const at::Tensor& grad_output, const EntropyArguments& arguments) {
  constexpr auto op = "class_entropy_backward";
  const at::Tensor& logits = std::get<0>(arguments);
  const auto reduction = check_all(op, arguments);
  const at::Tensor upstream = check_grad_output(op, grad_output, reduction, logits.sym_size(0), logits);
  const Outputs out{.grad = empty_grad(logits)};
  run(arguments, reduction, out, upstream);
  return out.grad;
}

std::tuple<at::Tensor, at::Tensor> class_entropy_and_grad(const EntropyArguments& arguments) {
  const at::Tensor& logits = std::get<0>(arguments);
  const auto reduction = check_all("class_entropy_and_grad", arguments);
  const Outputs out{.entropy = empty_entropy(logits, reduction), .grad = empty_grad(logits)};
  run(arguments, reduction, out);
  return {out.entropy, out.grad};
}

DoubleBackward class_entropy_double_backward(const at::Tensor& grad_grad, const at::Tensor& grad_output,
                                             const EntropyArguments& arguments) {
  constexpr auto op = "class_entropy_double_backward";
  const auto& [logits, _, row_weight] = arguments;
  const auto reduction = check_all(op, arguments);
  check_same(op, "grad_grad", grad_grad, "logits", logits);
  const at::Tensor upstream = check_grad_output(op, grad_output, reduction, logits.sym_size(0), logits);
  const Outputs out{.entropy = empty_entropy(logits, reduction), .grad = empty_grad(logits)};
  if (logits.is_meta()) return {out.entropy, out.grad};
  const at::Tensor rows = unit_columns(logits), v = unit_columns(grad_grad),
                   weight = kernel_weight(pointer(row_weight), logits);
  cpu::run(Along<EntropyArgs>{kernel_args(rows, reduction, out, upstream, weight), v.const_data_ptr(), v.stride(0)});
  return {out.entropy, out.grad};
}

TORCH_LIBRARY_FRAGMENT(amgan_fast, m) {
  const auto tags = any_layout();
  m.def(R"(class_entropy(Tensor logits, *, str reduction="mean", Tensor? row_weight=None) -> Tensor)", tags);
  m.def(R"(class_entropy_backward(
    Tensor grad_output, Tensor logits, *, str reduction="mean", Tensor? row_weight=None) -> Tensor)",
        tags);
  m.def(R"(class_entropy_and_grad(
    Tensor logits, *, str reduction="mean", Tensor? row_weight=None) -> (Tensor entropy, Tensor grad))",
        tags);
  m.def(R"(class_entropy_double_backward(
    Tensor grad_grad, Tensor grad_output, Tensor logits, *, str reduction="mean", Tensor? row_weight=None) -> (
    Tensor of_grad_output, Tensor of_logits))",
        tags);
  implement(m, "class_entropy", Unpacked<class_entropy>::call);
  implement(m, "class_entropy_backward", Unpacked<class_entropy_backward>::call);
  implement(m, "class_entropy_and_grad", Unpacked<class_entropy_and_grad>::call);
  implement_but_on_cuda(m, "class_entropy_double_backward", Unpacked<class_entropy_double_backward>::call);
}

}  // namespace
}  // namespace amgan::ops
