// The derivatives of batch_norm_leaky_dropout.
#include <ATen/TensorOperators.h>
#include <ATen/ops/leaky_relu_backward.h>
#include <ATen/ops/native_batch_norm_backward.h>
#include <ATen/ops/rsqrt.h>
#include <torch/library.h>

#include "math/leaky_dropout.h"
#include "ops/autograd.h"
#include "ops/batch_norm.h"
#include "ops/leaky_dropout.h"
#include "ops/register.h"
#include "ops/saved_layout.h"

namespace amgan::ops {
namespace {

// The outputs without derivatives are no outputs of the function: compiled autograd knows no marks of such.
class BatchNormLeakyDropout : public TraceableFunction<BatchNormLeakyDropout> {
 public:
  static Variable forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                          const BatchNormArguments& arguments, BatchNormOutputs* outputs) {
    const BelowAutograd below;
    *outputs = batch_norm_forward(arguments);
    const auto& [output, mean, variance, rng_state] = *outputs;
    ctx->save_for_backward({x, weight, bias, mean, variance, rng_state});
    save_layout(ctx, x);
    ctx->saved_data["p"] = std::get<3>(arguments);
    ctx->saved_data["slope"] = std::get<4>(arguments);
    ctx->saved_data["eps"] = std::get<5>(arguments);
    return output;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto number = [&](const char* name) { return ctx->saved_data[name].toDouble(); };
    const at::Tensor x = in_saved_layout(ctx, saved[0]), weight = contiguous(saved[1]), bias = contiguous(saved[2]);
    const auto [grad_x, grad_weight, grad_bias] = batch_norm_backward(
        {grads[0], x, weight, bias, saved[3], saved[4], saved[5], number("p"), number("slope"), number("eps")});
    return {grad_x, grad_weight, grad_bias, Variable(), Variable()};
  }
};

BatchNormOutputs differentiable(const BatchNormArguments& arguments) {
  const auto& [x, weight, bias, p, slope, eps] = arguments;
  if (!is_differentiated(x) && !is_differentiated(weight) && !is_differentiated(bias)) {
    const BelowAutograd below;
    return batch_norm_forward(arguments);
  }
  BatchNormOutputs outputs;
  std::get<0>(outputs) = BatchNormLeakyDropout::apply(x, weight, bias, arguments, &outputs);
  return outputs;
}

// The gradients by torch's own differentiable operations, to which mean and variance are functions of x.
BatchNormGradients by_torch(const BatchNormBackwardArguments& arguments) {
  const auto& [grad_output, x, weight, bias, mean, variance, rng_state, p, slope, eps] = arguments;
  at::Tensor z;
  {
    // What forward saw, to the bit: the sign of a value at zero is one of rounding.
    const BelowAutograd below;
    z = std::get<0>(batch_norm_forward({x, weight, bias, 0, 1, eps}));
  }
  const at::Tensor grad = math::make_leaky_dropout(p, slope).dropped > 0
                              ? leaky_dropout_backward(grad_output, z, rng_state, p, slope)
                              : at::leaky_relu_backward(grad_output, z, slope, false);
  const at::Tensor inverse = at::rsqrt(variance.detach() + eps);
  return at::native_batch_norm_backward(grad, x, weight, {}, {}, mean.detach(), inverse, true, eps, {true, true, true});
}

BatchNormGradients differentiable_backward(const BatchNormBackwardArguments& arguments) {
  const auto& [grad_output, x, weight, bias, mean, variance, rng_state, p, slope, eps] = arguments;
  if (is_differentiated(grad_output) || is_differentiated(x) || is_differentiated(weight)) return by_torch(arguments);
  const BelowAutograd below;
  return batch_norm_backward(arguments);
}

}  // namespace

TORCH_LIBRARY_IMPL(amgan_fast, Autograd, m) {
  m.impl("native_batch_norm_leaky_dropout", Unpacked<differentiable>::call);
  m.impl("native_batch_norm_leaky_dropout_backward", Unpacked<differentiable_backward>::call);
}

}  // namespace amgan::ops
