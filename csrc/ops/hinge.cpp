// The multi-hinge: checks, allocation, one kernel call each. Autograd is in hinge_autograd.cpp.
#include "ops/hinge.h"

#include <torch/library.h>

#include <cmath>

#include "args/along.h"
#include "args/hinge.h"
#include "ops/check.h"
#include "ops/device.h"
#include "ops/register.h"

namespace amgan::ops {

KPlus1Call call_of(const char* op, const HingeArguments& arguments) {
  const auto& [logits, labels, margin, fake, reduction, row_weight] = arguments;
  const bool fake_column = parse_fake(op, fake);
  const auto parsed_reduction = parse_reduction(op, reduction);
  TORCH_CHECK_VALUE(std::isfinite(margin) && margin >= 0, op, ": margin is ", margin,
                    ", wanted a finite number of at least 0");
  const KPlus1Rows rows{.logits_name = "logits",
                        .logits = logits,
                        .labels_name = "labels",
                        .labels = pointer(labels),
                        .coefficients = {},
                        .weight = pointer(row_weight),
                        .fake_labels = true};
  return {op, fake_column, parsed_reduction, 0, {rows}};
}

namespace {

// What a call computes: the tensors that are defined.
struct Outputs {
  at::Tensor loss = {}, grad = {};
};

// All that there is to ask about rows with unit column stride. `grad_output`, `weight`: undefined for 1.
HingeArgs kernel_args(const at::Tensor& rows, const HingeArguments& arguments, const KPlus1Call& call,
                      const Outputs& out, const at::Tensor& grad_output, const at::Tensor& weight) {
  const bool reduced = call.reduction != Reduction::none;
  HingeArgs args{};
  args.dtype = dtype_of(rows);
  args.classes = rows.size(1) - call.fake_column;
  args.fake_column = call.fake_column;
  args.margin = std::get<2>(arguments);
  KPlus1Batch& batch = args.batch;
  batch = kernel_batch(call, call.batches[0], rows, weight);
  if (out.loss.defined()) (reduced ? args.total : batch.loss) = out.loss.mutable_data_ptr();
  if (out.grad.defined()) batch.grad = out.grad.mutable_data_ptr();
  if (grad_output.defined()) {
    batch.grad_output = grad_output.const_data_ptr();
    batch.grad_output_stride = reduced ? 0 : grad_output.stride(0);
  }
  return args;
}

void run(const HingeArguments& arguments, const KPlus1Call& call, const Outputs& out,
         const at::Tensor& grad_output = {}) {
  const at::Tensor& logits = std::get<0>(arguments);
  if (logits.is_meta()) return;
  const at::Tensor rows = unit_columns(logits), weight = kernel_weight(call.batches[0].weight, logits);
  run_kernel(rows, kernel_args(rows, arguments, call, out, grad_output, weight));
}

at::Tensor empty_loss(const at::Tensor& logits, const KPlus1Call& call) {
  return empty_loss(logits, logits.sym_size(0), call.reduction);
}

at::Tensor kplus1_hinge_loss(const HingeArguments& arguments) {
  const KPlus1Call call = call_of("kplus1_hinge_loss", arguments);
  check_all(call);
  const Outputs out{.loss = empty_loss(std::get<0>(arguments), call)};
  run(arguments, call, out);
  return out.loss;
}

at::Tensor kplus1_hinge_loss_backward(const at::Tensor& grad_output, const HingeArguments& arguments) {
  constexpr auto op = "kplus1_hinge_loss_backward";
  const at::Tensor& logits = std::get<0>(arguments);
  const KPlus1Call call = call_of(op, arguments);
  check_all(call);
  const at::Tensor upstream = check_grad_output(op, grad_output, call.reduction, logits.sym_size(0), logits);
  const Outputs out{.grad = empty_grad(logits)};
  run(arguments, call, out, upstream);
  return out.grad;
}

std::tuple<at::Tensor, at::Tensor> kplus1_hinge_loss_and_grad(const HingeArguments& arguments) {
  const at::Tensor& logits = std::get<0>(arguments);
  const KPlus1Call call = call_of("kplus1_hinge_loss_and_grad", arguments);
  check_all(call);
  const Outputs out{.loss = empty_loss(logits, call), .grad = empty_grad(logits)};
  run(arguments, call, out);
  return {out.loss, out.grad};
}

DoubleBackward kplus1_hinge_loss_double_backward(const at::Tensor& grad_grad, const at::Tensor& grad_output,
                                                 const HingeArguments& arguments) {
  constexpr auto op = "kplus1_hinge_loss_double_backward";
  const at::Tensor& logits = std::get<0>(arguments);
  const KPlus1Call call = call_of(op, arguments);
  check_all(call);
  check_same(op, "grad_grad", grad_grad, "logits", logits);
  const at::Tensor upstream = check_grad_output(op, grad_output, call.reduction, logits.sym_size(0), logits);
  const Outputs out{.loss = empty_loss(logits, call), .grad = empty_grad(logits)};
  if (logits.is_meta()) return {out.loss, out.grad};
  const at::Tensor rows = unit_columns(logits), v = unit_columns(grad_grad),
                   weight = kernel_weight(call.batches[0].weight, logits);
  cpu::run(
      Along<HingeArgs>{kernel_args(rows, arguments, call, out, upstream, weight), v.const_data_ptr(), v.stride(0)});
  return {out.loss, out.grad};
}

TORCH_LIBRARY_FRAGMENT(amgan_fast, m) {
  const auto tags = any_layout();
  m.def(R"(kplus1_hinge_loss(
    Tensor logits, Tensor? labels=None, *, float margin=1.0, str fake="column", str reduction="mean",
    Tensor? row_weight=None) -> Tensor)",
        tags);
  m.def(R"(kplus1_hinge_loss_backward(
    Tensor grad_output, Tensor logits, Tensor? labels=None, *, float margin=1.0, str fake="column",
    str reduction="mean", Tensor? row_weight=None) -> Tensor)",
        tags);
  m.def(R"(kplus1_hinge_loss_and_grad(
    Tensor logits, Tensor? labels=None, *, float margin=1.0, str fake="column", str reduction="mean",
    Tensor? row_weight=None) -> (Tensor loss, Tensor grad))",
        tags);
  m.def(R"(kplus1_hinge_loss_double_backward(
    Tensor grad_grad, Tensor grad_output, Tensor logits, Tensor? labels=None, *, float margin=1.0,
    str fake="column", str reduction="mean", Tensor? row_weight=None) -> (Tensor of_grad_output, Tensor of_logits))",
        tags);
  implement(m, "kplus1_hinge_loss", Unpacked<kplus1_hinge_loss>::call);
  implement(m, "kplus1_hinge_loss_backward", Unpacked<kplus1_hinge_loss_backward>::call);
  implement(m, "kplus1_hinge_loss_and_grad", Unpacked<kplus1_hinge_loss_and_grad>::call);
  implement_but_on_cuda(m, "kplus1_hinge_loss_double_backward", Unpacked<kplus1_hinge_loss_double_backward>::call);
}

}  // namespace
}  // namespace amgan::ops
