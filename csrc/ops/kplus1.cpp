// The K+1-class losses: checks, allocation, one kernel call each. Autograd is in kplus1_autograd.cpp.
#include "ops/kplus1.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <array>
#include <cmath>

#include "args/kplus1.h"
#include "ops/check.h"
#include "ops/device.h"
#include "ops/register.h"

namespace amgan::ops {
namespace {

// The largest label that may occur.
c10::SymInt max_label(const at::Tensor& logits, bool fake_column, bool fake_labels) {
  return logits.sym_size(1) - static_cast<int64_t>(fake_column) - (fake_labels ? 0 : 1);
}

}  // namespace

void check_batch(const char* op, const char* logits_name, const at::Tensor& logits, const OptionalTensor& labels,
                 at::ArrayRef<double> coefficients, std::string_view fake, std::string_view reduction, bool fake_labels,
                 double label_smoothing) {
  const bool fake_column = parse_fake(op, fake);
  parse_reduction(op, reduction);
  TORCH_CHECK_VALUE(coefficients.size() == 5, op, ": coefficients has ", coefficients.size(),
                    " numbers, wanted five: a, r, t, f, u");
  for (const double c : coefficients) {
    TORCH_CHECK_VALUE(std::isfinite(c), op, ": coefficients holds ", c, ", wanted finite numbers");
  }
  check_fraction(op, "label_smoothing", label_smoothing);
  check_logits(op, logits_name, logits, 1 + fake_column);
  check_labels(op, "labels", labels, logits, max_label(logits, fake_column, fake_labels));
}

void check_pair(const char* op, const at::Tensor& real_logits, const at::Tensor& labels, const at::Tensor& fake_logits,
                std::string_view fake, double real_smoothing, double fake_smoothing, double class_smoothing,
                std::string_view reduction) {
  const bool fake_column = parse_fake(op, fake);
  parse_reduction(op, reduction);
  check_fraction(op, "real_smoothing", real_smoothing);
  check_fraction(op, "fake_smoothing", fake_smoothing);
  check_fraction(op, "class_smoothing", class_smoothing);
  check_logits(op, "real_logits", real_logits, 1 + fake_column);
  check_logits(op, "fake_logits", fake_logits, 1 + fake_column);
  check_like(op, "fake_logits", fake_logits, "real_logits", real_logits);
  check_labels(op, "labels", labels, real_logits, max_label(real_logits, fake_column, false));
}

namespace {

// The coefficients (a, r, t, f, u) of the named losses.
std::array<double, 5> discriminator_real(double real_smoothing, double class_smoothing) {
  const double on_classes = 1 - real_smoothing;
  return {1, 0, (1 - class_smoothing) * on_classes, real_smoothing, class_smoothing * on_classes};
}

std::array<double, 5> discriminator_fake(double fake_smoothing) {
  return {1, 0, 0, 1 - fake_smoothing, fake_smoothing};
}

constexpr std::array<double, 5> kAmGenerator{1, 0, 1, 0, 0};

// A share s of the target mass, t + f + u, goes to all K+1 classes alike, as in PyTorch's label smoothing: s/(K+1) of
// it to the generated class, s*K/(K+1) to the mean of the real ones.
std::array<double, 5> smoothed(at::ArrayRef<double> coefficients, double share, int64_t classes) {
  const double a = coefficients[0], r = coefficients[1], t = coefficients[2], f = coefficients[3], u = coefficients[4];
  if (share == 0) return {a, r, t, f, u};
  const double real = static_cast<double>(classes), spread = share * (t + f + u), kept = 1 - share;
  return {a, r, kept * t, kept * f + spread / (real + 1), kept * u + spread * real / (real + 1)};
}

// A batch of rows and what is wanted of it. Holds the tensors that the kernel's pointers look into.
struct Rows {
  at::Tensor logits;
  OptionalTensor labels;
  KPlus1Batch batch{};

  Rows(const at::Tensor& given, const OptionalTensor& given_labels, at::ArrayRef<double> coefficients,
       Reduction reduction, const c10::SymInt& max_label)
      : logits(unit_columns(given)), labels(given_labels) {
    batch.logits = logits.const_data_ptr();
    batch.rows = logits.size(0);
    batch.row_stride = logits.stride(0);
    batch.coefficients =
        math::make_coefficients(coefficients[0], coefficients[1], coefficients[2], coefficients[3], coefficients[4]);
    batch.scale = row_scale(reduction, batch.rows);
    batch.max_label = static_cast<int32_t>(max_label.expect_int());
    if (labels.has_value()) {
      batch.labels = labels->const_data_ptr();
      batch.label_stride = labels->stride(0);
      batch.labels_are_int32 = labels->scalar_type() == at::kInt;
    }
  }

  void set_grad_output(const at::Tensor& upstream, int64_t first_row) {
    const bool scalar = upstream.dim() == 0;
    batch.grad_output_stride = scalar ? 0 : upstream.stride(0);
    batch.grad_output = static_cast<const char*>(upstream.const_data_ptr()) +
                        (scalar ? 0 : first_row * upstream.stride(0) * upstream.element_size());
  }
};

KPlus1Args make_args(const at::Tensor& logits, bool fake_column) {
  KPlus1Args args{};
  args.dtype = dtype_of(logits);
  args.fake_column = fake_column;
  args.classes = logits.size(1) - fake_column;
  return args;
}

struct Outputs {
  at::Tensor loss, grad;
};

// One batch: the loss, the gradient, or both.
Outputs run_one(const char* op, const char* logits_name, const at::Tensor& logits, const OptionalTensor& labels,
                at::ArrayRef<double> coefficients, std::string_view fake, std::string_view reduction_name,
                bool fake_labels, double label_smoothing, bool want_loss, bool want_grad,
                const OptionalTensor& grad_output) {
  check_batch(op, logits_name, logits, labels, coefficients, fake, reduction_name, fake_labels, label_smoothing);
  const bool fake_column = parse_fake(op, fake);
  const auto reduction = parse_reduction(op, reduction_name);
  at::Tensor upstream;
  if (grad_output.has_value()) {
    upstream = check_grad_output(op, *grad_output, reduction, logits.sym_size(0), logits);
  }
  Outputs out;
  if (want_loss) out.loss = empty_loss(logits, logits.sym_size(0), reduction);
  if (want_grad) out.grad = empty_grad(logits);
  if (logits.is_meta()) return out;

  KPlus1Args args = make_args(logits, fake_column);
  Rows rows(logits, labels, smoothed(coefficients, label_smoothing, args.classes), reduction,
            max_label(logits, fake_column, fake_labels));
  if (want_loss) (reduction == Reduction::none ? rows.batch.loss : args.total) = out.loss.mutable_data_ptr();
  if (want_grad) rows.batch.grad = out.grad.mutable_data_ptr();
  if (upstream.defined()) rows.set_grad_output(upstream, 0);
  args.batches = 1;
  args.batch[0] = rows.batch;
  run_kernel(logits, args);
  return out;
}

struct PairOutputs {
  at::Tensor loss, grad_real, grad_fake;
};

// The discriminator's two batches in one kernel.
PairOutputs run_pair(const char* op, const at::Tensor& real_logits, const at::Tensor& labels,
                     const at::Tensor& fake_logits, std::string_view fake, double real_smoothing, double fake_smoothing,
                     double class_smoothing, std::string_view reduction_name, bool want_loss, bool want_grad,
                     const OptionalTensor& grad_output) {
  check_pair(op, real_logits, labels, fake_logits, fake, real_smoothing, fake_smoothing, class_smoothing,
             reduction_name);
  const bool fake_column = parse_fake(op, fake);
  const auto reduction = parse_reduction(op, reduction_name);
  const c10::SymInt total_rows = real_logits.sym_size(0) + fake_logits.sym_size(0);
  at::Tensor upstream;
  if (grad_output.has_value()) upstream = check_grad_output(op, *grad_output, reduction, total_rows, real_logits);
  PairOutputs out;
  if (want_loss) out.loss = empty_loss(real_logits, total_rows, reduction);
  if (want_grad) {
    out.grad_real = empty_grad(real_logits);
    out.grad_fake = empty_grad(fake_logits);
  }
  if (real_logits.is_meta()) return out;

  const auto on_real = discriminator_real(real_smoothing, class_smoothing);
  const auto on_fake = discriminator_fake(fake_smoothing);
  Rows real(real_logits, labels, on_real, reduction, max_label(real_logits, fake_column, false));
  Rows generated(fake_logits, std::nullopt, on_fake, reduction, 0);
  KPlus1Args args = make_args(real_logits, fake_column);
  if (want_loss && reduction == Reduction::none) {
    real.batch.loss = out.loss.mutable_data_ptr();
    generated.batch.loss = static_cast<char*>(out.loss.mutable_data_ptr()) + real.batch.rows * out.loss.element_size();
  } else if (want_loss) {
    args.total = out.loss.mutable_data_ptr();
  }
  if (want_grad) {
    real.batch.grad = out.grad_real.mutable_data_ptr();
    generated.batch.grad = out.grad_fake.mutable_data_ptr();
  }
  if (upstream.defined()) {
    real.set_grad_output(upstream, 0);
    generated.set_grad_output(upstream, real.batch.rows);
  }
  args.batches = 2;
  args.batch[0] = real.batch;
  args.batch[1] = generated.batch;
  run_kernel(real_logits, args);
  return out;
}

using KPlus1LossSignature = decltype(kplus1_loss);

at::Tensor call_kplus1_loss(const at::Tensor& logits, const OptionalTensor& labels, at::ArrayRef<double> coefficients,
                            std::string_view fake, std::string_view reduction, bool fake_labels,
                            double label_smoothing = 0) {
  static const auto op = operation<KPlus1LossSignature>("amgan_fast::kplus1_loss");
  return op.call(logits, labels, coefficients, fake, reduction, fake_labels, label_smoothing);
}

// --- Named members of the family: kplus1_loss with coefficients. They check first, to name their own arguments.

void check_rows(const char* op, const char* logits_name, const at::Tensor& logits, const char* labels_name,
                const OptionalTensor& labels, bool fake_labels, std::string_view fake, std::string_view reduction) {
  const bool fake_column = parse_fake(op, fake);
  parse_reduction(op, reduction);
  check_logits(op, logits_name, logits, 1 + fake_column);
  check_labels(op, labels_name, labels, logits, max_label(logits, fake_column, fake_labels));
}

at::Tensor kplus1_cross_entropy(const at::Tensor& logits, const at::Tensor& target, std::string_view fake,
                                double label_smoothing, std::string_view reduction) {
  constexpr auto op = "kplus1_cross_entropy";
  check_fraction(op, "label_smoothing", label_smoothing);
  check_rows(op, "logits", logits, "target", target, true, fake, reduction);
  return call_kplus1_loss(logits, target, kAmGenerator, fake, reduction, true, label_smoothing);
}

at::Tensor kplus1_cross_entropy_mode(const at::Tensor& logits, std::string_view target, std::string_view fake,
                                     double label_smoothing, std::string_view reduction) {
  constexpr auto op = "kplus1_cross_entropy";
  check_fraction(op, "label_smoothing", label_smoothing);
  check_rows(op, "logits", logits, "", std::nullopt, false, fake, reduction);
  TORCH_CHECK_VALUE(target == "dynamic" || target == "fake", op, ": target is '", target,
                    "', wanted labels, 'dynamic' or 'fake'");
  const auto coefficients = target == "fake" ? discriminator_fake(0) : kAmGenerator;
  return call_kplus1_loss(logits, std::nullopt, coefficients, fake, reduction, false, label_smoothing);
}

at::Tensor am_generator_loss(const at::Tensor& fake_logits, const OptionalTensor& labels, std::string_view fake,
                             std::string_view reduction) {
  check_rows("am_generator_loss", "fake_logits", fake_logits, "labels", labels, false, fake, reduction);
  return call_kplus1_loss(fake_logits, labels, kAmGenerator, fake, reduction, false);
}

at::Tensor labelgan_generator_loss(const at::Tensor& fake_logits, std::string_view fake, double smoothing,
                                   std::string_view reduction) {
  constexpr auto op = "labelgan_generator_loss";
  check_fraction(op, "smoothing", smoothing);
  check_rows(op, "fake_logits", fake_logits, "", std::nullopt, false, fake, reduction);
  const std::array<double, 5> coefficients{1, smoothing - 1, 0, smoothing, 0};
  return call_kplus1_loss(fake_logits, std::nullopt, coefficients, fake, reduction, false);
}

// --- Without gradient.

std::tuple<at::Tensor, at::Tensor, at::Tensor> kplus1_terms(const at::Tensor& logits, const OptionalTensor& labels,
                                                            std::string_view fake) {
  constexpr auto op = "kplus1_terms";
  const bool fake_column = parse_fake(op, fake);
  check_logits(op, "logits", logits, 1 + fake_column);
  check_labels(op, "labels", labels, logits, max_label(logits, fake_column, false));
  const auto rows_count = logits.sym_size(0);
  at::Tensor labelgan = empty_loss(logits, rows_count, Reduction::none);
  at::Tensor auxiliary = empty_loss(logits, rows_count, Reduction::none);
  at::Tensor labels_out = at::empty_symint({rows_count}, logits.options().dtype(at::kLong));
  if (logits.is_meta()) return {labelgan, auxiliary, labels_out};

  Rows rows(logits, labels, kAmGenerator, Reduction::none, max_label(logits, fake_column, false));
  KPlus1Args args = make_args(logits, fake_column);
  args.labelgan = labelgan.mutable_data_ptr();
  args.auxiliary = auxiliary.mutable_data_ptr();
  args.labels_out = labels_out.mutable_data_ptr<int64_t>();
  args.batches = 1;
  args.batch[0] = rows.batch;
  run_kernel(logits, args);
  return {labelgan, auxiliary, labels_out};
}

std::tuple<at::Tensor, at::Tensor> am_generator_loss_and_grad(const at::Tensor& fake_logits,
                                                              const OptionalTensor& labels, std::string_view fake,
                                                              std::string_view reduction) {
  auto [loss, grad] = run_one("am_generator_loss_and_grad", "fake_logits", fake_logits, labels, kAmGenerator, fake,
                              reduction, false, 0, true, true, std::nullopt);
  return {loss, grad};
}

}  // namespace

at::Tensor kplus1_loss(const at::Tensor& logits, const OptionalTensor& labels, at::ArrayRef<double> coefficients,
                       std::string_view fake, std::string_view reduction, bool fake_labels, double label_smoothing) {
  return run_one("kplus1_loss", "logits", logits, labels, coefficients, fake, reduction, fake_labels, label_smoothing,
                 true, false, std::nullopt)
      .loss;
}

at::Tensor kplus1_loss_backward(const at::Tensor& grad_output, const at::Tensor& logits, const OptionalTensor& labels,
                                at::ArrayRef<double> coefficients, std::string_view fake, std::string_view reduction,
                                bool fake_labels, double label_smoothing) {
  return run_one("kplus1_loss_backward", "logits", logits, labels, coefficients, fake, reduction, fake_labels,
                 label_smoothing, false, true, grad_output)
      .grad;
}

std::tuple<at::Tensor, at::Tensor> kplus1_loss_and_grad(const at::Tensor& logits, const OptionalTensor& labels,
                                                        at::ArrayRef<double> coefficients, std::string_view fake,
                                                        std::string_view reduction, bool fake_labels,
                                                        double label_smoothing) {
  auto [loss, grad] = run_one("kplus1_loss_and_grad", "logits", logits, labels, coefficients, fake, reduction,
                              fake_labels, label_smoothing, true, true, std::nullopt);
  return {loss, grad};
}

at::Tensor am_discriminator_loss(const at::Tensor& real_logits, const at::Tensor& labels, const at::Tensor& fake_logits,
                                 std::string_view fake, double real_smoothing, double fake_smoothing,
                                 double class_smoothing, std::string_view reduction) {
  return run_pair("am_discriminator_loss", real_logits, labels, fake_logits, fake, real_smoothing, fake_smoothing,
                  class_smoothing, reduction, true, false, std::nullopt)
      .loss;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> am_discriminator_loss_and_grad(
    const at::Tensor& real_logits, const at::Tensor& labels, const at::Tensor& fake_logits, std::string_view fake,
    double real_smoothing, double fake_smoothing, double class_smoothing, std::string_view reduction) {
  auto [loss, grad_real, grad_fake] =
      run_pair("am_discriminator_loss_and_grad", real_logits, labels, fake_logits, fake, real_smoothing, fake_smoothing,
               class_smoothing, reduction, true, true, std::nullopt);
  return {loss, grad_real, grad_fake};
}

std::tuple<at::Tensor, at::Tensor> am_discriminator_loss_backward(const at::Tensor& grad_output,
                                                                  const at::Tensor& real_logits,
                                                                  const at::Tensor& labels,
                                                                  const at::Tensor& fake_logits, std::string_view fake,
                                                                  double real_smoothing, double fake_smoothing,
                                                                  double class_smoothing, std::string_view reduction) {
  auto [loss, grad_real, grad_fake] =
      run_pair("am_discriminator_loss_backward", real_logits, labels, fake_logits, fake, real_smoothing, fake_smoothing,
               class_smoothing, reduction, false, true, grad_output);
  return {grad_real, grad_fake};
}

TORCH_LIBRARY_FRAGMENT(amgan_fast, m) {
  const std::vector<at::Tag> tags{at::Tag::pt2_compliant_tag};
  const std::string end = "*, str fake=\"column\", str reduction=\"mean\")";
  const std::string smoothing =
      "*, str fake=\"column\", float real_smoothing=0.0, float fake_smoothing=0.0, float class_smoothing=0.0, "
      "str reduction=\"mean\")";
  const auto def = [&](const std::string& schema) { m.def(schema.c_str(), tags); };

  const std::string family =
      "Tensor logits, Tensor? labels, float[] coefficients, *, str fake=\"column\", str reduction=\"mean\", "
      "bool fake_labels=True, float label_smoothing=0.0)";
  def("kplus1_loss(" + family + " -> Tensor");
  def("kplus1_loss_backward(Tensor grad_output, " + family + " -> Tensor");
  def("kplus1_loss_and_grad(" + family + " -> (Tensor loss, Tensor grad)");
  implement(m, "kplus1_loss", kplus1_loss);
  implement(m, "kplus1_loss_backward", kplus1_loss_backward);
  implement(m, "kplus1_loss_and_grad", kplus1_loss_and_grad);
  without_gradient(m, "kplus1_loss_and_grad");

  const std::string pair = "Tensor real_logits, Tensor labels, Tensor fake_logits, " + smoothing;
  def("am_discriminator_loss(" + pair + " -> Tensor");
  def("am_discriminator_loss_backward(Tensor grad_output, " + pair + " -> (Tensor, Tensor)");
  def("am_discriminator_loss_and_grad(" + pair + " -> (Tensor loss, Tensor grad_real, Tensor grad_fake)");
  implement(m, "am_discriminator_loss", am_discriminator_loss);
  implement(m, "am_discriminator_loss_backward", am_discriminator_loss_backward);
  implement(m, "am_discriminator_loss_and_grad", am_discriminator_loss_and_grad);
  without_gradient(m, "am_discriminator_loss_and_grad");

  def("am_generator_loss_and_grad(Tensor fake_logits, Tensor? labels=None, " + end + " -> (Tensor loss, Tensor grad)");
  implement(m, "am_generator_loss_and_grad", am_generator_loss_and_grad);
  without_gradient(m, "am_generator_loss_and_grad");

  def("kplus1_terms(Tensor logits, Tensor? labels=None, *, str fake=\"column\")"
      " -> (Tensor labelgan, Tensor auxiliary, Tensor labels)");
  implement(m, "kplus1_terms", kplus1_terms);
  without_gradient(m, "kplus1_terms");

  // Composites: traced and differentiated through kplus1_loss.
  const std::string entropy = "*, str fake=\"column\", float label_smoothing=0.0, str reduction=\"mean\") -> Tensor";
  def("kplus1_cross_entropy(Tensor logits, Tensor target, " + entropy);
  def("kplus1_cross_entropy.mode(Tensor logits, str target, " + entropy);
  def("am_generator_loss(Tensor fake_logits, Tensor? labels=None, " + end + " -> Tensor");
  def("labelgan_generator_loss(Tensor fake_logits, *, str fake=\"column\", float smoothing=0.0, "
      "str reduction=\"mean\") -> Tensor");
  m.impl("kplus1_cross_entropy", kplus1_cross_entropy);
  m.impl("kplus1_cross_entropy.mode", kplus1_cross_entropy_mode);
  m.impl("am_generator_loss", am_generator_loss);
  m.impl("labelgan_generator_loss", labelgan_generator_loss);
}

}  // namespace amgan::ops
