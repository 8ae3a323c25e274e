// class_entropy, its backward and its double backward.
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/softmax.h>
#include <torch/library.h>

#include "args/entropy.h"
#include "ops/check.h"
#include "ops/device.h"
#include "ops/register.h"
#include "ops/saved_gradient.h"
#include "ops/second_order.h"

namespace amgan::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

EntropyArgs entropy_args(const at::Tensor& logits, Reduction reduction) {
  EntropyArgs args{};
  args.dtype = dtype_of(logits);
  args.logits = logits.const_data_ptr();
  args.rows = logits.size(0);
  args.classes = logits.size(1);
  args.row_stride = logits.stride(0);
  args.scale = row_scale(reduction, args.rows);
  return args;
}

at::Tensor class_entropy(const at::Tensor& logits, std::string_view reduction_name) {
  constexpr auto op = "class_entropy";
  check_logits(op, "logits", logits, 1);
  const auto reduction = parse_reduction(op, reduction_name);
  at::Tensor entropy = empty_loss(logits, logits.sym_size(0), reduction);
  if (logits.is_meta()) return entropy;

  const at::Tensor rows = unit_columns(logits);
  EntropyArgs args = entropy_args(rows, reduction);
  (reduction == Reduction::none ? args.entropy : args.total) = entropy.mutable_data_ptr();
  run_kernel(rows, args);
  return entropy;
}

at::Tensor class_entropy_backward(const at::Tensor& grad_output, const at::Tensor& logits,
                                  std::string_view reduction_name) {
  constexpr auto op = "class_entropy_backward";
  check_logits(op, "logits", logits, 1);
  const auto reduction = parse_reduction(op, reduction_name);
  const at::Tensor upstream = check_grad_output(op, grad_output, reduction, logits.sym_size(0), logits);
  at::Tensor grad = empty_grad(logits);
  if (logits.is_meta()) return grad;

  const at::Tensor rows = unit_columns(logits);
  EntropyArgs args = entropy_args(rows, reduction);
  args.grad_output = upstream.const_data_ptr();
  args.grad_output_stride = reduction == Reduction::none ? upstream.stride(0) : 0;
  args.grad = grad.mutable_data_ptr();
  run_kernel(rows, args);
  return grad;
}

std::tuple<at::Tensor, at::Tensor> class_entropy_and_grad(const at::Tensor& logits, std::string_view reduction_name) {
  constexpr auto op = "class_entropy_and_grad";
  check_logits(op, "logits", logits, 1);
  const auto reduction = parse_reduction(op, reduction_name);
  at::Tensor entropy = empty_loss(logits, logits.sym_size(0), reduction);
  at::Tensor grad = empty_grad(logits);
  if (logits.is_meta()) return {entropy, grad};

  const at::Tensor rows = unit_columns(logits);
  EntropyArgs args = entropy_args(rows, reduction);
  (reduction == Reduction::none ? args.entropy : args.total) = entropy.mutable_data_ptr();
  args.grad = grad.mutable_data_ptr();
  run_kernel(rows, args);
  return {entropy, grad};
}

class ClassEntropyBackward : public TraceableFunction<ClassEntropyBackward> {
 public:
  static Variable forward(AutogradContext* ctx, const at::Tensor& grad_output, const at::Tensor& logits,
                          std::string_view reduction) {
    ctx->save_for_backward({grad_output, logits});
    ctx->saved_data["reduction"] = std::string(reduction);
    static const auto op = operation<decltype(class_entropy_backward)>("amgan_fast::class_entropy_backward");
    const at::AutoDispatchBelowADInplaceOrView below;
    return op.call(grad_output, logits, reduction);
  }

  // With g_k = -p_k (log p_k + H) the gradient: H'' v = -p (v - p.v) (log p + H + 1) - p (g.v).
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto& grad_output = saved[0];
    const auto& logits = saved[1];
    const std::string name = ctx->saved_data["reduction"].toStringRef();
    const auto reduction = parse_reduction("class_entropy", name);
    const at::Tensor v = grads[0].to(loss_dtype(logits));
    static const auto op = operation<decltype(class_entropy_backward)>("amgan_fast::class_entropy_backward");
    const at::Tensor of_ones = op.call(at::ones_like(grad_output), logits, name);

    const at::Tensor log_prob = at::log_softmax(logits, 1, loss_dtype(logits));
    const at::Tensor prob = log_prob.exp();
    const at::Tensor finite = log_prob.masked_fill(prob == 0, 0.0);
    const at::Tensor entropy = -(prob * finite).sum(1, true);
    const at::Tensor gradient = -prob * (finite + entropy);
    const at::Tensor product = -softmax_jvp(prob, v) * (finite + entropy + 1) - prob * (gradient * v).sum(1, true);
    return {per_output(of_ones, v, reduction).to(grad_output.scalar_type()),
            (product * per_row(grad_output, logits, reduction)).to(logits.scalar_type()), Variable()};
  }
};

at::Tensor class_entropy_backward_autograd(const at::Tensor& grad_output, const at::Tensor& logits,
                                           std::string_view reduction) {
  return ClassEntropyBackward::apply(grad_output, logits, reduction);
}

class ClassEntropy : public TraceableFunction<ClassEntropy> {
 public:
  static Variable forward(AutogradContext* ctx, const at::Tensor& logits, std::string_view reduction) {
    ctx->saved_data["reduction"] = std::string(reduction);
    const at::AutoDispatchBelowADInplaceOrView below;
    at::Tensor entropy, grad;
    if (keeps_gradient(logits)) {
      check_logits("class_entropy", "logits", logits, 1);
      parse_reduction("class_entropy", reduction);
      static const auto op = operation<decltype(class_entropy_and_grad)>("amgan_fast::class_entropy_and_grad");
      std::tie(entropy, grad) = op.call(logits, reduction);
    } else {
      static const auto op = operation<decltype(class_entropy)>("amgan_fast::class_entropy");
      entropy = op.call(logits, reduction);
    }
    ctx->save_for_backward({logits, grad});
    return entropy;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    static const auto op = operation<decltype(class_entropy_backward)>("amgan_fast::class_entropy_backward");
    const auto saved = ctx->get_saved_variables();
    const std::string& reduction = ctx->saved_data["reduction"].toStringRef();
    // With create_graph the gradient must itself depend on the logits.
    if (saved[1].defined() && !at::GradMode::is_enabled()) {
      return {scaled_gradient(saved[1], grads[0], parse_reduction("class_entropy", reduction)), Variable()};
    }
    return {op.call(grads[0], saved[0], reduction), Variable()};
  }
};

at::Tensor class_entropy_autograd(const at::Tensor& logits, std::string_view reduction) {
  if (!is_differentiated(logits)) {
    static const auto op = operation<decltype(class_entropy)>("amgan_fast::class_entropy");
    const at::AutoDispatchBelowADInplaceOrView below;
    return op.call(logits, reduction);
  }
  return ClassEntropy::apply(logits, reduction);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(amgan_fast, m) {
  const std::vector<at::Tag> tags{at::Tag::pt2_compliant_tag};
  m.def("class_entropy(Tensor logits, *, str reduction=\"mean\") -> Tensor", tags);
  m.def("class_entropy_backward(Tensor grad_output, Tensor logits, *, str reduction=\"mean\") -> Tensor", tags);
  m.def("class_entropy_and_grad(Tensor logits, *, str reduction=\"mean\") -> (Tensor entropy, Tensor grad)", tags);
  implement(m, "class_entropy", class_entropy);
  implement(m, "class_entropy_and_grad", class_entropy_and_grad);
  without_gradient(m, "class_entropy_and_grad");
  implement(m, "class_entropy_backward", class_entropy_backward);
  m.impl("class_entropy", torch::dispatch(c10::DispatchKey::Autograd, class_entropy_autograd));
  m.impl("class_entropy_backward", torch::dispatch(c10::DispatchKey::Autograd, class_entropy_backward_autograd));
}

}  // namespace amgan::ops
