// First and second derivatives of the K+1 losses. Backward is an operation of its own (one fused kernel), or the
// product with a gradient that forward has kept; its own backward is written in plain ATen, so that derivatives of
// every order exist.
#include <ATen/ops/cat.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/softmax.h>
#include <torch/library.h>

#include "ops/check.h"
#include "ops/kplus1.h"
#include "ops/register.h"
#include "ops/saved_gradient.h"
#include "ops/second_order.h"

namespace amgan::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

// Second derivative of each row's loss times v: a (D*v - D (D.v)) + r (C*v - C (C.v)); the other terms are linear.
at::Tensor hessian_product(const at::Tensor& logits, const at::Tensor& v, double a, double r, bool fake_column) {
  const auto dtype = loss_dtype(logits);
  const auto one = [](const at::Tensor& x) { return x.narrow_symint(1, 0, 1); };
  const at::Tensor l = logits.to(dtype);
  const c10::SymInt classes = l.sym_size(1) - fake_column;
  // 0, and NaN in rows with NaN or +inf, where the first derivative is NaN whatever a and r; -inf is legal.
  at::Tensor product = at::zeros_like(l) + l.detach().amax(1, true).clamp_min(0) * 0;
  if (a != 0 && fake_column) product = product + a * softmax_jvp(l.softmax(1), v);
  if (a != 0 && !fake_column) {
    const at::Tensor zero = at::zeros_like(one(l));
    const at::Tensor all = softmax_jvp(at::cat({l, zero}, 1).softmax(1), at::cat({v, zero}, 1));
    product = product + a * all.narrow_symint(1, 0, classes);
  }
  if (r != 0) {
    const at::Tensor on_real =
        r * softmax_jvp(l.narrow_symint(1, 0, classes).softmax(1), v.narrow_symint(1, 0, classes));
    product = product + (fake_column ? at::cat({on_real, at::zeros_like(one(l))}, 1) : on_real);
  }
  return product;
}

// Both batches' gradients of the loss take part in a pair's grad_output: rows in order, or their total.
at::Tensor pair_per_output(const at::Tensor& real, const at::Tensor& generated, Reduction reduction) {
  return reduction == Reduction::none ? at::cat({real, generated}) : real + generated;
}

OptionalTensor optional(const at::Tensor& tensor) {
  return tensor.defined() ? OptionalTensor(tensor) : std::nullopt;
}

// --- One batch. The options travel through saved_data.

struct Options {
  std::vector<double> coefficients;
  std::string fake, reduction;
  bool fake_labels;
  double label_smoothing;

  void save(AutogradContext* ctx) const {
    ctx->saved_data["coefficients"] = coefficients;
    ctx->saved_data["fake"] = fake;
    ctx->saved_data["reduction"] = reduction;
    ctx->saved_data["fake_labels"] = fake_labels;
    ctx->saved_data["label_smoothing"] = label_smoothing;
  }

  static Options load(AutogradContext* ctx) {
    auto& data = ctx->saved_data;
    return {data["coefficients"].toDoubleVector(), data["fake"].toStringRef(), data["reduction"].toStringRef(),
            data["fake_labels"].toBool(), data["label_smoothing"].toDouble()};
  }
};

at::Tensor call_backward(const at::Tensor& grad_output, const at::Tensor& logits, const OptionalTensor& labels,
                         const Options& options) {
  static const auto op = operation<decltype(kplus1_loss_backward)>("amgan_fast::kplus1_loss_backward");
  return op.call(grad_output, logits, labels, options.coefficients, options.fake, options.reduction,
                 options.fake_labels, options.label_smoothing);
}

class KPlus1LossBackward : public TraceableFunction<KPlus1LossBackward> {
 public:
  static Variable forward(AutogradContext* ctx, const at::Tensor& grad_output, const at::Tensor& logits,
                          const OptionalTensor& labels, const Options& options) {
    ctx->save_for_backward({grad_output, logits, labels.value_or(at::Tensor())});
    options.save(ctx);
    const at::AutoDispatchBelowADInplaceOrView below;
    return call_backward(grad_output, logits, labels, options);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto& grad_output = saved[0];
    const auto& logits = saved[1];
    const auto options = Options::load(ctx);
    const auto reduction = parse_reduction("kplus1_loss", options.reduction);
    const at::Tensor v = grads[0].to(loss_dtype(logits));
    const at::Tensor of_ones = call_backward(at::ones_like(grad_output), logits, optional(saved[2]), options);
    const at::Tensor product = hessian_product(logits, v, options.coefficients[0], options.coefficients[1],
                                               parse_fake("kplus1_loss", options.fake));
    return {per_output(of_ones, v, reduction).to(grad_output.scalar_type()),
            (product * per_row(grad_output, logits, reduction)).to(logits.scalar_type()), Variable(), Variable()};
  }
};

class KPlus1Loss : public TraceableFunction<KPlus1Loss> {
 public:
  static Variable forward(AutogradContext* ctx, const at::Tensor& logits, const OptionalTensor& labels,
                          const Options& options) {
    options.save(ctx);
    const at::AutoDispatchBelowADInplaceOrView below;
    at::Tensor loss, grad;
    if (keeps_gradient(logits)) {
      check_batch("kplus1_loss", "logits", logits, labels, options.coefficients, options.fake, options.reduction,
                  options.fake_labels, options.label_smoothing);
      static const auto op = operation<decltype(kplus1_loss_and_grad)>("amgan_fast::kplus1_loss_and_grad");
      std::tie(loss, grad) = op.call(logits, labels, options.coefficients, options.fake, options.reduction,
                                     options.fake_labels, options.label_smoothing);
    } else {
      static const auto op = operation<decltype(kplus1_loss)>("amgan_fast::kplus1_loss");
      loss = op.call(logits, labels, options.coefficients, options.fake, options.reduction, options.fake_labels,
                     options.label_smoothing);
    }
    ctx->save_for_backward({logits, labels.value_or(at::Tensor()), grad});
    return loss;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto options = Options::load(ctx);
    // With create_graph the gradient must itself depend on the logits.
    if (saved[2].defined() && !at::GradMode::is_enabled()) {
      const auto reduction = parse_reduction("kplus1_loss", options.reduction);
      return {scaled_gradient(saved[2], grads[0], reduction), Variable(), Variable()};
    }
    return {call_backward(grads[0], saved[0], optional(saved[1]), options), Variable(), Variable()};
  }
};

at::Tensor kplus1_loss_autograd(const at::Tensor& logits, const OptionalTensor& labels,
                                at::ArrayRef<double> coefficients, std::string_view fake, std::string_view reduction,
                                bool fake_labels, double label_smoothing) {
  if (!is_differentiated(logits)) {
    static const auto op = operation<decltype(kplus1_loss)>("amgan_fast::kplus1_loss");
    const at::AutoDispatchBelowADInplaceOrView below;
    return op.call(logits, labels, coefficients, fake, reduction, fake_labels, label_smoothing);
  }
  return KPlus1Loss::apply(
      logits, labels,
      Options{coefficients.vec(), std::string(fake), std::string(reduction), fake_labels, label_smoothing});
}

at::Tensor kplus1_loss_backward_autograd(const at::Tensor& grad_output, const at::Tensor& logits,
                                         const OptionalTensor& labels, at::ArrayRef<double> coefficients,
                                         std::string_view fake, std::string_view reduction, bool fake_labels,
                                         double label_smoothing) {
  return KPlus1LossBackward::apply(
      grad_output, logits, labels,
      Options{coefficients.vec(), std::string(fake), std::string(reduction), fake_labels, label_smoothing});
}

// --- The discriminator's two batches.

struct PairOptions {
  std::string fake;
  double real_smoothing, fake_smoothing, class_smoothing;
  std::string reduction;

  void save(AutogradContext* ctx) const {
    ctx->saved_data["fake"] = fake;
    ctx->saved_data["smoothing"] = std::vector<double>{real_smoothing, fake_smoothing, class_smoothing};
    ctx->saved_data["reduction"] = reduction;
  }

  static PairOptions load(AutogradContext* ctx) {
    auto& data = ctx->saved_data;
    const auto smoothing = data["smoothing"].toDoubleVector();
    return {data["fake"].toStringRef(), smoothing[0], smoothing[1], smoothing[2], data["reduction"].toStringRef()};
  }
};

std::tuple<at::Tensor, at::Tensor> call_pair_backward(const at::Tensor& grad_output, const at::Tensor& real_logits,
                                                      const at::Tensor& labels, const at::Tensor& fake_logits,
                                                      const PairOptions& options) {
  static const auto op =
      operation<decltype(am_discriminator_loss_backward)>("amgan_fast::am_discriminator_loss_backward");
  return op.call(grad_output, real_logits, labels, fake_logits, options.fake, options.real_smoothing,
                 options.fake_smoothing, options.class_smoothing, options.reduction);
}

class AmDiscriminatorLossBackward : public TraceableFunction<AmDiscriminatorLossBackward> {
 public:
  static variable_list forward(AutogradContext* ctx, const at::Tensor& grad_output, const at::Tensor& real_logits,
                               const at::Tensor& labels, const at::Tensor& fake_logits, const PairOptions& options) {
    ctx->save_for_backward({grad_output, real_logits, labels, fake_logits});
    options.save(ctx);
    const at::AutoDispatchBelowADInplaceOrView below;
    auto [grad_real, grad_fake] = call_pair_backward(grad_output, real_logits, labels, fake_logits, options);
    return {grad_real, grad_fake};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto& grad_output = saved[0];
    const auto& real_logits = saved[1];
    const auto& fake_logits = saved[3];
    const auto options = PairOptions::load(ctx);
    const auto reduction = parse_reduction("am_discriminator_loss", options.reduction);
    const bool fake_column = parse_fake("am_discriminator_loss", options.fake);
    // The two batches share grad_output only.
    const auto or_zero = [](const at::Tensor& grad, const at::Tensor& like) {
      return (grad.defined() ? grad : at::zeros_like(like)).to(loss_dtype(like));
    };
    const at::Tensor v_real = or_zero(grads[0], real_logits), v_fake = or_zero(grads[1], fake_logits);
    const auto [one_real, one_fake] =
        call_pair_backward(at::ones_like(grad_output), real_logits, saved[2], fake_logits, options);
    const bool rows = reduction == Reduction::none;
    const c10::SymInt real_rows = real_logits.sym_size(0);
    const auto second = [&](const at::Tensor& logits, const at::Tensor& v, const c10::SymInt& first) {
      const at::Tensor upstream = rows ? grad_output.narrow_symint(0, first, logits.sym_size(0)) : grad_output;
      const at::Tensor product = hessian_product(logits, v, 1, 0, fake_column);
      return (product * per_row(upstream, logits, reduction)).to(logits.scalar_type());
    };
    const at::Tensor grad_grad_output =
        pair_per_output(per_output(one_real, v_real, reduction), per_output(one_fake, v_fake, reduction), reduction);
    return {grad_grad_output.to(grad_output.scalar_type()), second(real_logits, v_real, 0), Variable(),
            second(fake_logits, v_fake, real_rows), Variable()};
  }
};

class AmDiscriminatorLoss : public TraceableFunction<AmDiscriminatorLoss> {
 public:
  static Variable forward(AutogradContext* ctx, const at::Tensor& real_logits, const at::Tensor& labels,
                          const at::Tensor& fake_logits, const PairOptions& options) {
    options.save(ctx);
    const at::AutoDispatchBelowADInplaceOrView below;
    at::Tensor loss, grad_real, grad_fake;
    if (keeps_gradient(real_logits)) {
      check_pair("am_discriminator_loss", real_logits, labels, fake_logits, options.fake, options.real_smoothing,
                 options.fake_smoothing, options.class_smoothing, options.reduction);
      static const auto op =
          operation<decltype(am_discriminator_loss_and_grad)>("amgan_fast::am_discriminator_loss_and_grad");
      std::tie(loss, grad_real, grad_fake) =
          op.call(real_logits, labels, fake_logits, options.fake, options.real_smoothing, options.fake_smoothing,
                  options.class_smoothing, options.reduction);
    } else {
      static const auto op = operation<decltype(am_discriminator_loss)>("amgan_fast::am_discriminator_loss");
      loss = op.call(real_logits, labels, fake_logits, options.fake, options.real_smoothing, options.fake_smoothing,
                     options.class_smoothing, options.reduction);
    }
    ctx->save_for_backward({real_logits, labels, fake_logits, grad_real, grad_fake});
    return loss;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto options = PairOptions::load(ctx);
    if (saved[3].defined() && !at::GradMode::is_enabled()) {
      const auto reduction = parse_reduction("am_discriminator_loss", options.reduction);
      const bool rows = reduction == Reduction::none;
      const auto of = [&](const at::Tensor& gradient, const c10::SymInt& first) {
        const at::Tensor upstream = rows ? grads[0].narrow_symint(0, first, gradient.sym_size(0)) : grads[0];
        return scaled_gradient(gradient, upstream, reduction);
      };
      return {of(saved[3], 0), Variable(), of(saved[4], saved[0].sym_size(0)), Variable()};
    }
    auto [grad_real, grad_fake] = call_pair_backward(grads[0], saved[0], saved[1], saved[2], options);
    return {grad_real, Variable(), grad_fake, Variable()};
  }
};

at::Tensor am_discriminator_loss_autograd(const at::Tensor& real_logits, const at::Tensor& labels,
                                          const at::Tensor& fake_logits, std::string_view fake, double real_smoothing,
                                          double fake_smoothing, double class_smoothing, std::string_view reduction) {
  if (!is_differentiated(real_logits) && !is_differentiated(fake_logits)) {
    static const auto op = operation<decltype(am_discriminator_loss)>("amgan_fast::am_discriminator_loss");
    const at::AutoDispatchBelowADInplaceOrView below;
    return op.call(real_logits, labels, fake_logits, fake, real_smoothing, fake_smoothing, class_smoothing, reduction);
  }
  return AmDiscriminatorLoss::apply(
      real_logits, labels, fake_logits,
      PairOptions{std::string(fake), real_smoothing, fake_smoothing, class_smoothing, std::string(reduction)});
}

std::tuple<at::Tensor, at::Tensor> am_discriminator_loss_backward_autograd(
    const at::Tensor& grad_output, const at::Tensor& real_logits, const at::Tensor& labels,
    const at::Tensor& fake_logits, std::string_view fake, double real_smoothing, double fake_smoothing,
    double class_smoothing, std::string_view reduction) {
  auto grads = AmDiscriminatorLossBackward::apply(
      grad_output, real_logits, labels, fake_logits,
      PairOptions{std::string(fake), real_smoothing, fake_smoothing, class_smoothing, std::string(reduction)});
  return {grads[0], grads[1]};
}

}  // namespace

TORCH_LIBRARY_IMPL(amgan_fast, Autograd, m) {
  m.impl("kplus1_loss", kplus1_loss_autograd);
  m.impl("kplus1_loss_backward", kplus1_loss_backward_autograd);
  m.impl("am_discriminator_loss", am_discriminator_loss_autograd);
  m.impl("am_discriminator_loss_backward", am_discriminator_loss_backward_autograd);
}

}  // namespace amgan::ops
