// The derivatives of the K+1 losses.
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include "ops/kplus1.h"
#include "ops/loss_autograd.h"

namespace amgan::ops {
namespace {

// Second derivative of each row's loss times v: a (D*v - D (D.v)) + r (C*v - C (C.v)); the other terms are linear.
// `r`: one for all rows, or [rows, 1].
at::Tensor second_derivative(const at::Tensor& logits, const at::Tensor& v, double a, const at::Tensor& r,
                             bool fake_column) {
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
  if (r.defined()) {
    const at::Tensor on_real =
        r * softmax_jvp(l.narrow_symint(1, 0, classes).softmax(1), v.narrow_symint(1, 0, classes));
    product = product + (fake_column ? at::cat({on_real, at::zeros_like(one(l))}, 1) : on_real);
  }
  return product;
}

struct KPlus1Loss : LossFunction<KPlus1Loss> {
  using Arguments = FamilyArguments;
  static constexpr auto name = "kplus1_loss";
  static constexpr std::array logits{0};
  static constexpr int reduction = 4;

  static void check(const Arguments& arguments) { ops::check(call_of({name}, arguments)); }
  static void check_values(const Arguments& arguments) { ops::check_values(call_of({name}, arguments)); }
  static at::Tensor plain(const Arguments& arguments) { return plain_loss(call_of({name}, arguments)); }
  static DoubleBackward double_backward(const at::Tensor& grad_grad, const at::Tensor& grad_output,
                                        const Arguments& arguments, size_t) {
    return LossOperations<KPlus1Loss>::double_backward(grad_grad, grad_output, arguments);
  }
  static at::Tensor hessian_product(const Arguments& arguments, const at::Tensor& logits, const at::Tensor& v) {
    const OptionalTensor &labels = std::get<1>(arguments), &row_weight = std::get<7>(arguments);
    const auto coefficients = std::get<2>(arguments);
    const double a = coefficients[0], r = coefficients[1], t = coefficients[2], u = coefficients[4];
    const bool fake_column = parse_fake(name, std::get<3>(arguments)), unlabelled = std::get<8>(arguments);
    at::Tensor of_real;
    if (r != 0 || (unlabelled && labels)) of_real = at::full({}, r, v.options());
    // As Coefficients::unlabelled.
    if (unlabelled && labels) of_real = at::where(labels->lt(0), of_real - (t + u), of_real).unsqueeze(1);
    return weighted_rows(second_derivative(logits, v, a, of_real, fake_column), row_weight);
  }
};

struct AmDiscriminatorLoss : LossFunction<AmDiscriminatorLoss> {
  using Arguments = PairArguments;
  static constexpr auto name = "am_discriminator_loss";
  static constexpr std::array logits{0, 2};
  static constexpr int reduction = 7;

  static void check(const Arguments& arguments) { ops::check(call_of(name, arguments)); }
  static void check_values(const Arguments& arguments) { ops::check_values(call_of(name, arguments)); }
  static at::Tensor plain(const Arguments& arguments) { return plain_loss(call_of(name, arguments)); }
  // Each batch is one of the family.
  static DoubleBackward double_backward(const at::Tensor& grad_grad, const at::Tensor& grad_output,
                                        const Arguments& arguments, size_t i) {
    const auto& [real_logits, labels, fake_logits, fake, real_smoothing, fake_smoothing, class_smoothing, reduction,
                 real_row_weight, fake_row_weight] = arguments;
    const auto coefficients =
        i == 0 ? math::real_row(real_smoothing, class_smoothing) : math::generated_row(fake_smoothing);
    const OptionalTensor given = i == 0 ? OptionalTensor(labels) : std::nullopt;
    const FamilyArguments batch =
        with_one_label(i == 0 ? real_logits : fake_logits, given, coefficients, fake, reduction, false, 0,
                       i == 0 ? real_row_weight : fake_row_weight, i == 0);
    return LossOperations<KPlus1Loss>::double_backward(grad_grad, grad_output, batch);
  }
};

}  // namespace

TORCH_LIBRARY_IMPL(amgan_fast, Autograd, m) {
  differentiate<KPlus1Loss>(m);
  differentiate<AmDiscriminatorLoss>(m);
  differentiate_twice<KPlus1Loss>(m);
}

TORCH_LIBRARY_IMPL(amgan_fast, FuncTorchBatchedDecomposition, m) {
  take_apart<KPlus1Loss>(m);
  take_apart<AmDiscriminatorLoss>(m);
}

TORCH_LIBRARY_IMPL(amgan_fast, CUDA, m) {
  implement_plainly<KPlus1Loss>(m);
}

}  // namespace amgan::ops
