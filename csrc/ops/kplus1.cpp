// The K+1-class losses: checks, allocation, one kernel call each. Autograd is in kplus1_autograd.cpp.
#include "ops/kplus1.h"

#include <ATen/TensorOperators.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "args/along.h"
#include "ops/check.h"
#include "ops/device.h"
#include "ops/register.h"

namespace amgan::ops {

KPlus1Call call_of(const KPlus1Names& names, const FamilyArguments& arguments) {
  const auto& [logits, labels, coefficients, fake, reduction, fake_labels, label_smoothing, row_weight, unlabelled,
               second_labels, second_coefficient] = arguments;
  const char* op = names.op;
  const bool fake_column = parse_fake(op, fake);
  const auto parsed_reduction = parse_reduction(op, reduction);
  TORCH_CHECK_VALUE(coefficients.size() == 5, op, ": coefficients has ", coefficients.size(),
                    " numbers, wanted five: a, r, t, f, u");
  for (const double c : coefficients) {
    TORCH_CHECK_VALUE(std::isfinite(c), op, ": coefficients holds ", c, ", wanted finite numbers");
  }
  check_fraction(op, "label_smoothing", label_smoothing);
  TORCH_CHECK_VALUE(!unlabelled || label_smoothing == 0, op, ": label_smoothing is ", label_smoothing,
                    " and unlabelled is True, wanted 0 where rows may have no label");
  TORCH_CHECK_VALUE(std::isfinite(second_coefficient), op, ": second_coefficient is ", second_coefficient,
                    ", wanted a finite number");
  TORCH_CHECK_VALUE(second_labels || second_coefficient == 0, op, ": second_coefficient is ", second_coefficient,
                    " and second_labels is None, wanted labels for it");
  TORCH_CHECK_VALUE(!second_labels || label_smoothing == 0, op, ": label_smoothing is ", label_smoothing,
                    ", wanted 0 with second_labels");
  math::LossCoefficients five;
  std::copy(coefficients.begin(), coefficients.end(), five.begin());
  const KPlus1Rows rows{
      names.logits, logits,     names.labels,           pointer(labels),   five, "row_weight", pointer(row_weight),
      fake_labels,  unlabelled, pointer(second_labels), second_coefficient};
  return {op, fake_column, parsed_reduction, label_smoothing, {rows}};
}

KPlus1Call call_of(const char* op, const PairArguments& arguments) {
  const auto& [real_logits, labels, fake_logits, fake, real_smoothing, fake_smoothing, class_smoothing, reduction,
               real_row_weight, fake_row_weight] = arguments;
  const bool fake_column = parse_fake(op, fake);
  const auto parsed_reduction = parse_reduction(op, reduction);
  check_fraction(op, "real_smoothing", real_smoothing);
  check_fraction(op, "fake_smoothing", fake_smoothing);
  check_fraction(op, "class_smoothing", class_smoothing);
  const auto on_real = math::real_row(real_smoothing, class_smoothing), on_fake = math::generated_row(fake_smoothing);
  const KPlus1Rows real{
      "real_logits", real_logits, "labels", &labels, on_real, "real_row_weight", pointer(real_row_weight), false, true};
  const KPlus1Rows generated{"fake_logits",           fake_logits, "", nullptr, on_fake, "fake_row_weight",
                             pointer(fake_row_weight)};
  return {op, fake_column, parsed_reduction, 0, {real, generated}};
}

namespace {

constexpr auto kSecondLabels = "second_labels";

int32_t smallest_label(const KPlus1Rows& rows) {
  return rows.unlabelled ? -1 : 0;
}

c10::SymInt largest_label(const KPlus1Call& call, const KPlus1Rows& rows) {
  return rows.logits.sym_size(1) - static_cast<int64_t>(call.fake_column) - (rows.fake_labels ? 0 : 1);
}

Labels kernel_labels(const at::Tensor* labels, int32_t min, int32_t max) {
  if (labels == nullptr) return {};
  return {labels->const_data_ptr(), labels->stride(0), labels->scalar_type() == at::kInt, min, max};
}

}  // namespace

void check(const KPlus1Call& call) {
  const KPlus1Rows& first = call.batches[0];
  for (const KPlus1Rows& rows : call.batches) {
    check_logits(call.op, rows.logits_name, rows.logits, 1 + call.fake_column);
    if (&rows != &first) check_like(call.op, rows.logits_name, rows.logits, first.logits_name, first.logits);
  }
  for (const KPlus1Rows& rows : call.batches) {
    if (rows.labels != nullptr) check_labels(call.op, rows.labels_name, *rows.labels, rows.logits);
    if (rows.second_labels != nullptr) check_labels(call.op, kSecondLabels, *rows.second_labels, rows.logits);
    if (rows.weight != nullptr) {
      check_weight(call.op, rows.weight_name, *rows.weight, rows.logits.sym_size(0), "row of logits", rows.logits);
    }
  }
}

void check_values(const KPlus1Call& call) {
  for (const KPlus1Rows& rows : call.batches) {
    if (rows.labels != nullptr) {
      check_label_range(call.op, rows.labels_name, *rows.labels, smallest_label(rows), largest_label(call, rows));
    }
    if (rows.second_labels != nullptr) {
      check_label_range(call.op, kSecondLabels, *rows.second_labels, 0, largest_label(call, rows));
    }
    if (rows.weight != nullptr) check_weight_range(call.op, rows.weight_name, *rows.weight);
  }
}

void check_all(const KPlus1Call& call) {
  check(call);
  check_values(call);
}

KPlus1Batch kernel_batch(const KPlus1Call& call, const KPlus1Rows& given, const at::Tensor& logits,
                         const at::Tensor& weight) {
  KPlus1Batch batch{};
  batch.logits = logits.const_data_ptr();
  batch.rows = logits.size(0);
  batch.row_stride = logits.stride(0);
  batch.coefficients = math::make_coefficients(
      math::smoothed(given.coefficients, call.label_smoothing, logits.size(1) - call.fake_column),
      given.second_coefficient);
  batch.second_coefficient = given.second_coefficient;
  batch.scale = row_scale(call.reduction, batch.rows);
  const auto largest = static_cast<int32_t>(largest_label(call, given).expect_int());
  batch.labels = kernel_labels(given.labels, smallest_label(given), largest);
  batch.second_labels = kernel_labels(given.second_labels, 0, largest);
  if (weight.defined()) {
    batch.row_weight = weight.const_data_ptr();
    batch.row_weight_stride = weight.stride(0);
  }
  return batch;
}

namespace {

// What a call computes: the tensors that are defined.
struct Outputs {
  at::Tensor loss = {};                                  // of all batches
  std::array<at::Tensor, 2> grad = {};                   // of each
  at::Tensor labelgan = {}, auxiliary = {}, label = {};  // the terms of the first
};

c10::SymInt total_rows(const KPlus1Call& call) {
  c10::SymInt total = 0;
  for (const KPlus1Rows& rows : call.batches) total += rows.logits.sym_size(0);
  return total;
}

at::Tensor empty_loss(const KPlus1Call& call) {
  return empty_loss(call.batches[0].logits, total_rows(call), call.reduction);
}

std::array<at::Tensor, 2> empty_grads(const KPlus1Call& call) {
  std::array<at::Tensor, 2> grads;
  for (size_t i = 0; i < call.batches.size(); ++i) grads[i] = empty_grad(call.batches[i].logits);
  return grads;
}

// Where the numbers of rows from this one on are, in a tensor of a number a row.
char* at_row(const at::Tensor& tensor, int64_t row) {
  return static_cast<char*>(const_cast<void*>(tensor.const_data_ptr())) +
         row * tensor.stride(0) * tensor.element_size();
}

// What the pointers of a kernel look into.
struct KernelTensors {
  std::array<at::Tensor, 2> logits, weight;
};

// All that there is to ask about a checked call. `grad_output`: undefined for 1.
KPlus1Args kernel_args(const KPlus1Call& call, const Outputs& out, const at::Tensor& grad_output,
                       KernelTensors& tensors) {
  const at::Tensor& first = call.batches[0].logits;
  const bool reduced = call.reduction != Reduction::none;
  KPlus1Args args{};
  args.dtype = dtype_of(first);
  args.fake_column = call.fake_column;
  args.classes = first.size(1) - call.fake_column;
  int64_t row = 0;
  for (const KPlus1Rows& given : call.batches) {
    const int32_t i = args.batches++;
    KPlus1Batch& batch = args.batch[i];
    tensors.logits[i] = unit_columns(given.logits);
    tensors.weight[i] = kernel_weight(given.weight, given.logits);
    batch = kernel_batch(call, given, tensors.logits[i], tensors.weight[i]);
    if (out.loss.defined() && !reduced) batch.loss = at_row(out.loss, row);
    if (out.grad[i].defined()) batch.grad = out.grad[i].mutable_data_ptr();
    if (grad_output.defined()) {
      batch.grad_output = reduced ? grad_output.const_data_ptr() : at_row(grad_output, row);
      batch.grad_output_stride = reduced ? 0 : grad_output.stride(0);
    }
    row += batch.rows;
  }
  if (out.loss.defined() && reduced) args.total = out.loss.mutable_data_ptr();
  if (out.label.defined()) {
    args.labelgan = out.labelgan.mutable_data_ptr();
    args.auxiliary = out.auxiliary.mutable_data_ptr();
    args.labels_out = out.label.mutable_data_ptr<int64_t>();
  }
  return args;
}

// One kernel for all batches.
void run(const KPlus1Call& call, const Outputs& out, const at::Tensor& grad_output = {}) {
  const at::Tensor& first = call.batches[0].logits;
  if (first.is_meta()) return;
  KernelTensors tensors;
  run_kernel(first, kernel_args(call, out, grad_output, tensors));
}

// The same of the derivative along v of a call with one batch.
void run_along(const KPlus1Call& call, const Outputs& out, const at::Tensor& v, const at::Tensor& grad_output) {
  const at::Tensor& first = call.batches[0].logits;
  if (first.is_meta()) return;
  KernelTensors tensors;
  const at::Tensor rows_of_v = unit_columns(v);
  cpu::run(
      Along<KPlus1Args>{kernel_args(call, out, grad_output, tensors), rows_of_v.const_data_ptr(), rows_of_v.stride(0)});
}

// --- What operations ask of a call.

at::Tensor loss(const KPlus1Call& call) {
  check_all(call);
  const Outputs out{.loss = empty_loss(call)};
  run(call, out);
  return out.loss;
}

Outputs loss_and_grad(const KPlus1Call& call) {
  check_all(call);
  const Outputs out{.loss = empty_loss(call), .grad = empty_grads(call)};
  run(call, out);
  return out;
}

std::array<at::Tensor, 2> backward(const KPlus1Call& call, const at::Tensor& grad_output) {
  check_all(call);
  const at::Tensor upstream =
      check_grad_output(call.op, grad_output, call.reduction, total_rows(call), call.batches[0].logits);
  const Outputs out{.grad = empty_grads(call)};
  run(call, out, upstream);
  return out.grad;
}

// Of a call with one batch. `grad_grad`: the gradient of that gradient.
DoubleBackward double_backward(const KPlus1Call& call, const at::Tensor& grad_grad, const at::Tensor& grad_output) {
  check_all(call);
  const KPlus1Rows& rows = call.batches[0];
  check_same(call.op, "grad_grad", grad_grad, rows.logits_name, rows.logits);
  const at::Tensor upstream = check_grad_output(call.op, grad_output, call.reduction, total_rows(call), rows.logits);
  const Outputs out{.loss = empty_loss(call), .grad = empty_grads(call)};
  run_along(call, out, grad_grad, upstream);
  return {out.loss, out.grad[0]};
}

// --- Any member of the family.

at::Tensor kplus1_loss(const FamilyArguments& arguments) {
  return loss(call_of({"kplus1_loss"}, arguments));
}

at::Tensor kplus1_loss_backward(const at::Tensor& grad_output, const FamilyArguments& arguments) {
  return backward(call_of({"kplus1_loss_backward"}, arguments), grad_output)[0];
}

std::tuple<at::Tensor, at::Tensor> kplus1_loss_and_grad(const FamilyArguments& arguments) {
  const Outputs out = loss_and_grad(call_of({"kplus1_loss_and_grad"}, arguments));
  return {out.loss, out.grad[0]};
}

DoubleBackward kplus1_loss_double_backward(const at::Tensor& grad_grad, const at::Tensor& grad_output,
                                           const FamilyArguments& arguments) {
  return double_backward(call_of({"kplus1_loss_double_backward"}, arguments), grad_grad, grad_output);
}

// On CUDA a second label is a pass of its own: beside what the kernel has of a row already, it makes fourteen of its
// forms spill registers on compute capability 9.0, which all calls would pay for. The passes are
//
//   a*A + (r - s)*R - t*l_y - f*l_f - u*S   and   s*(R - l_y2),
//
// in float32 for half precision, whose gradient is rounded once.
auto in_two_passes(const char* op, const FamilyArguments& arguments, const auto& function) {
  const auto& [logits, labels, coefficients, fake, reduction, fake_labels, label_smoothing, row_weight, unlabelled,
               second_labels, second_coefficient] = arguments;
  check_all(call_of({op}, arguments));
  const at::Tensor wide = logits.to(loss_dtype(logits));
  math::LossCoefficients first, second{0, second_coefficient, second_coefficient, 0, 0};
  std::copy(coefficients.begin(), coefficients.end(), first.begin());
  first[1] -= second_coefficient;
  return std::pair(
      function(with_one_label(wide, labels, first, fake, reduction, fake_labels, 0, row_weight, unlabelled)),
      function(with_one_label(wide, second_labels, second, fake, reduction, fake_labels, 0, row_weight, false)));
}

bool has_second_label(const FamilyArguments& arguments) {
  return std::get<9>(arguments).has_value();
}

at::Tensor kplus1_loss_on_cuda(const FamilyArguments& arguments) {
  if (!has_second_label(arguments)) return kplus1_loss(arguments);
  const auto [first, second] = in_two_passes("kplus1_loss", arguments, kplus1_loss);
  return first + second;
}

at::Tensor kplus1_loss_backward_on_cuda(const at::Tensor& grad_output, const FamilyArguments& arguments) {
  if (!has_second_label(arguments)) return kplus1_loss_backward(grad_output, arguments);
  const auto [first, second] = in_two_passes(
      "kplus1_loss_backward", arguments, [&](const auto& given) { return kplus1_loss_backward(grad_output, given); });
  return (first + second).to(std::get<0>(arguments).scalar_type());
}

std::tuple<at::Tensor, at::Tensor> kplus1_loss_and_grad_on_cuda(const FamilyArguments& arguments) {
  if (!has_second_label(arguments)) return kplus1_loss_and_grad(arguments);
  const auto [first, second] = in_two_passes("kplus1_loss_and_grad", arguments, kplus1_loss_and_grad);
  const auto& [loss, grad] = first;
  const auto& [more_loss, more_grad] = second;
  return {loss + more_loss, (grad + more_grad).to(std::get<0>(arguments).scalar_type())};
}

TORCH_LIBRARY_FRAGMENT(amgan_fast, m) {
  const auto tags = any_layout();
  m.def(R"(kplus1_loss(
    Tensor logits, Tensor? labels, float[] coefficients, *, str fake="column", str reduction="mean",
    bool fake_labels=True, float label_smoothing=0.0, Tensor? row_weight=None, bool unlabelled=False,
    Tensor? second_labels=None, float second_coefficient=0.0) -> Tensor)",
        tags);
  m.def(R"(kplus1_loss_backward(
    Tensor grad_output, Tensor logits, Tensor? labels, float[] coefficients, *, str fake="column",
    str reduction="mean", bool fake_labels=True, float label_smoothing=0.0, Tensor? row_weight=None,
    bool unlabelled=False, Tensor? second_labels=None, float second_coefficient=0.0) -> Tensor)",
        tags);
  m.def(R"(kplus1_loss_and_grad(
    Tensor logits, Tensor? labels, float[] coefficients, *, str fake="column", str reduction="mean",
    bool fake_labels=True, float label_smoothing=0.0, Tensor? row_weight=None, bool unlabelled=False,
    Tensor? second_labels=None, float second_coefficient=0.0) -> (Tensor loss, Tensor grad))",
        tags);
  m.def(R"(kplus1_loss_double_backward(
    Tensor grad_grad, Tensor grad_output, Tensor logits, Tensor? labels, float[] coefficients, *, str fake="column",
    str reduction="mean", bool fake_labels=True, float label_smoothing=0.0, Tensor? row_weight=None,
    bool unlabelled=False, Tensor? second_labels=None, float second_coefficient=0.0) -> (
    Tensor of_grad_output, Tensor of_logits))",
        tags);
  implement_but_on_cuda(m, "kplus1_loss", Unpacked<kplus1_loss>::call);
  implement_but_on_cuda(m, "kplus1_loss_backward", Unpacked<kplus1_loss_backward>::call);
  implement_but_on_cuda(m, "kplus1_loss_and_grad", Unpacked<kplus1_loss_and_grad>::call);
  implement_but_on_cuda(m, "kplus1_loss_double_backward", Unpacked<kplus1_loss_double_backward>::call);
}

TORCH_LIBRARY_IMPL(amgan_fast, CUDA, m) {
  m.impl("kplus1_loss", Unpacked<kplus1_loss_on_cuda>::call);
  m.impl("kplus1_loss_backward", Unpacked<kplus1_loss_backward_on_cuda>::call);
  m.impl("kplus1_loss_and_grad", Unpacked<kplus1_loss_and_grad_on_cuda>::call);
}

// --- The discriminator's two batches.

at::Tensor am_discriminator_loss(const PairArguments& arguments) {
  return loss(call_of("am_discriminator_loss", arguments));
}

std::tuple<at::Tensor, at::Tensor> am_discriminator_loss_backward(const at::Tensor& grad_output,
                                                                  const PairArguments& arguments) {
  const auto [of_real, of_fake] = backward(call_of("am_discriminator_loss_backward", arguments), grad_output);
  return {of_real, of_fake};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> am_discriminator_loss_and_grad(const PairArguments& arguments) {
  const Outputs out = loss_and_grad(call_of("am_discriminator_loss_and_grad", arguments));
  return {out.loss, out.grad[0], out.grad[1]};
}

TORCH_LIBRARY_FRAGMENT(amgan_fast, m) {
  const auto tags = any_layout();
  m.def(R"(am_discriminator_loss(
    Tensor real_logits, Tensor labels, Tensor fake_logits, *, str fake="column", float real_smoothing=0.0,
    float fake_smoothing=0.0, float class_smoothing=0.0, str reduction="mean", Tensor? real_row_weight=None,
    Tensor? fake_row_weight=None) -> Tensor)",
        tags);
  m.def(R"(am_discriminator_loss_backward(
    Tensor grad_output, Tensor real_logits, Tensor labels, Tensor fake_logits, *, str fake="column",
    float real_smoothing=0.0, float fake_smoothing=0.0, float class_smoothing=0.0, str reduction="mean",
    Tensor? real_row_weight=None, Tensor? fake_row_weight=None) -> (Tensor, Tensor))",
        tags);
  m.def(R"(am_discriminator_loss_and_grad(
    Tensor real_logits, Tensor labels, Tensor fake_logits, *, str fake="column", float real_smoothing=0.0,
    float fake_smoothing=0.0, float class_smoothing=0.0, str reduction="mean", Tensor? real_row_weight=None,
    Tensor? fake_row_weight=None) -> (Tensor loss, Tensor grad_real, Tensor grad_fake))",
        tags);
  implement(m, "am_discriminator_loss", Unpacked<am_discriminator_loss>::call);
  implement(m, "am_discriminator_loss_backward", Unpacked<am_discriminator_loss_backward>::call);
  implement(m, "am_discriminator_loss_and_grad", Unpacked<am_discriminator_loss_and_grad>::call);
}

// --- Named members of the family: composites, traced and differentiated through kplus1_loss.

}  // namespace

at::Tensor named_loss(const KPlus1Names& names, const FamilyArguments& arguments) {
  static const Operation<at::Tensor, FamilyArguments> kplus1_loss("kplus1_loss");
  const KPlus1Call call = call_of(names, arguments);
  check(call);
  return named_by_caller([&] { return kplus1_loss(arguments); }, [&] { check_values(call); });
}

namespace {

at::Tensor am_generator_loss(const at::Tensor& fake_logits, const OptionalTensor& labels, std::string_view fake,
                             std::string_view reduction, const OptionalTensor& row_weight) {
  return named_loss({"am_generator_loss", "fake_logits"}, with_one_label(fake_logits, labels, math::kCrossEntropy, fake,
                                                                         reduction, false, 0, row_weight, false));
}

at::Tensor labelgan_generator_loss(const at::Tensor& fake_logits, std::string_view fake, double smoothing,
                                   std::string_view reduction, const OptionalTensor& row_weight) {
  constexpr auto op = "labelgan_generator_loss";
  check_fraction(op, "smoothing", smoothing);
  const auto coefficients = math::labelgan_generator(smoothing);
  return named_loss({op, "fake_logits"}, with_one_label(fake_logits, std::nullopt, coefficients, fake, reduction, false,
                                                        0, row_weight, false));
}

TORCH_LIBRARY_FRAGMENT(amgan_fast, m) {
  const auto tags = any_layout();
  m.def(R"(am_generator_loss(
    Tensor fake_logits, Tensor? labels=None, *, str fake="column", str reduction="mean",
    Tensor? row_weight=None) -> Tensor)",
        tags);
  m.def(R"(labelgan_generator_loss(
    Tensor fake_logits, *, str fake="column", float smoothing=0.0, str reduction="mean",
    Tensor? row_weight=None) -> Tensor)",
        tags);
  m.impl("am_generator_loss", am_generator_loss);
  m.impl("labelgan_generator_loss", labelgan_generator_loss);
}

TORCH_LIBRARY_IMPL(amgan_fast, FuncTorchBatchedDecomposition, m) {
  m.impl("am_generator_loss", am_generator_loss);
  m.impl("labelgan_generator_loss", labelgan_generator_loss);
}

// --- Without gradient.

std::tuple<at::Tensor, at::Tensor> am_generator_loss_and_grad(const at::Tensor& fake_logits,
                                                              const OptionalTensor& labels, std::string_view fake,
                                                              std::string_view reduction,
                                                              const OptionalTensor& row_weight) {
  const FamilyArguments arguments =
      with_one_label(fake_logits, labels, math::kCrossEntropy, fake, reduction, false, 0, row_weight, false);
  const Outputs out = loss_and_grad(call_of({"am_generator_loss_and_grad", "fake_logits"}, arguments));
  return {out.loss, out.grad[0]};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> kplus1_terms(const at::Tensor& logits, const OptionalTensor& labels,
                                                            std::string_view fake) {
  const FamilyArguments arguments =
      with_one_label(logits, labels, math::kCrossEntropy, fake, "none", false, 0, std::nullopt, false);
  const KPlus1Call call = call_of({"kplus1_terms"}, arguments);
  check_all(call);
  const Outputs out{.labelgan = empty_loss(call),
                    .auxiliary = empty_loss(call),
                    .label = at::empty_symint({total_rows(call)}, logits.options().dtype(at::kLong))};
  run(call, out);
  return {out.labelgan, out.auxiliary, out.label};
}

TORCH_LIBRARY_FRAGMENT(amgan_fast, m) {
  const auto tags = any_layout();
  m.def(R"(am_generator_loss_and_grad(
    Tensor fake_logits, Tensor? labels=None, *, str fake="column", str reduction="mean",
    Tensor? row_weight=None) -> (Tensor loss, Tensor grad))",
        tags);
  m.def(
      R"(kplus1_terms(Tensor logits, Tensor? labels=None, *, str fake="column") -> (Tensor labelgan, Tensor auxiliary, Tensor labels))",
      tags);
  implement(m, "am_generator_loss_and_grad", am_generator_loss_and_grad);
  implement(m, "kplus1_terms", kplus1_terms);
  without_gradient(m, "am_generator_loss_and_grad");
  without_gradient(m, "kplus1_terms");
}

}  // namespace
}  // namespace amgan::ops
