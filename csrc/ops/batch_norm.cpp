// batch_norm_leaky_dropout: batch norm with the statistics of the batch, leaky ReLU and dropout. Its input, the
// statistics and the state of the generator are all that backward needs.
#include <ATen/Context.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/leaky_relu_backward.h>
#include <ATen/ops/native_batch_norm_backward.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/var_mean.h>
#include <torch/library.h>

#include <cmath>
#include <vector>

#include "args/batch_norm.h"
#include "cpu/dispatch.h"
#include "ops/check.h"
#include "ops/device.h"
#include "ops/leaky_dropout.h"
#include "ops/register.h"
#include "ops/saved_gradient.h"
#include "ops/saved_layout.h"

namespace amgan::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

// What the operation is called with besides tensors.
struct Numbers {
  double p, slope, eps;
};

// Whether the channels of [N, C] or [N, C, H, W] are innermost in memory.
bool channels_are_innermost(const at::Tensor& x) {
  return x.dim() == 2 ? x.is_contiguous() : x.dim() == 4 && x.is_contiguous(at::MemoryFormat::ChannelsLast);
}

void check_arguments(const char* op, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                     const Numbers& numbers) {
  check_floating(op, "x", x);
  AMGAN_CHECK_SIZE(x.dim() >= 2 ? x.sym_size(1).sym_ge(1) : c10::SymBool(false), op, ": x has shape ", x.sym_sizes(),
                   ", wanted [N, C, ...] with a channel");
  TORCH_CHECK_TYPE(weight.scalar_type() == loss_dtype(x) || weight.scalar_type() == x.scalar_type(), op,
                   ": weight has dtype ", weight.scalar_type(), ", wanted ", loss_dtype(x), " or that of x");
  AMGAN_CHECK_SIZE(has_length(weight, x.sym_size(1)), op, ": weight has shape ", weight.sym_sizes(), ", wanted [",
                   x.sym_size(1), "]");
  TORCH_CHECK_VALUE(weight.device() == x.device(), op, ": weight is on ", weight.device(), " and x on ", x.device(),
                    ", wanted the same device");
  check_same(op, "bias", bias, "weight", weight);
  AMGAN_CHECK_SIZE(x.sym_numel().sym_ge(2 * x.sym_size(1)), op, ": x has shape ", x.sym_sizes(),
                   ", wanted at least 2 values a channel, whose variance is taken");
  check_fraction(op, "p", numbers.p);
  check_slope(op, numbers.slope);
  TORCH_CHECK_VALUE(numbers.eps > 0 && std::isfinite(numbers.eps), op, ": eps is ", numbers.eps,
                    ", wanted a positive finite number");
}

void check_for_kernel(const char* op, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  TORCH_CHECK_VALUE(x.is_cpu() || x.is_meta(), op, ": x is on ", x.device(), ", wanted the CPU");
  TORCH_CHECK_VALUE(channels_are_innermost(x), op, ": x has strides ", x.sym_strides(),
                    ", wanted [N, C], or [N, C, H, W] in channels_last memory format");
  TORCH_CHECK_TYPE(weight.scalar_type() == loss_dtype(x), op, ": weight has dtype ", weight.scalar_type(), ", wanted ",
                   loss_dtype(x));
  for (const auto& [name, tensor] : {std::pair("weight", weight), std::pair("bias", bias)}) {
    TORCH_CHECK_VALUE(tensor.is_contiguous(), op, ": ", name, " has strides ", tensor.sym_strides(),
                      ", wanted contiguous numbers");
  }
}

BatchNormArgs batch_norm_args(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, at::Tensor& out,
                              const Numbers& numbers) {
  BatchNormArgs args{};
  args.dtype = dtype_of(x);
  args.channels = x.size(1);
  args.rows = x.numel() / args.channels;
  args.x = x.const_data_ptr();
  args.out = out.mutable_data_ptr();
  args.weight = weight.const_data_ptr();
  args.bias = bias.const_data_ptr();
  args.epsilon = numbers.eps;
  args.factors = math::make_leaky_dropout(numbers.p, numbers.slope);
  return args;
}

// The output, mean and variance of the batch, and the state of the generator.
using NativeOutputs = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

NativeOutputs native(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double p, double slope,
                     double eps) {
  constexpr auto op = "native_batch_norm_leaky_dropout";
  const Numbers numbers{p, slope, eps};
  check_arguments(op, x, weight, bias, numbers);
  check_for_kernel(op, x, weight, bias);
  at::Tensor output = at::empty_like(x), mean = at::empty_like(weight), variance = at::empty_like(weight);
  at::Tensor rng_state = at::empty({2}, x.options().dtype(at::kLong));
  if (x.is_meta()) return {output, mean, variance, rng_state};

  BatchNormArgs args = batch_norm_args(x, weight, bias, output, numbers);
  args.mean = mean.mutable_data_ptr();
  args.variance = variance.mutable_data_ptr();
  if (args.factors.dropped > 0) args.philox = next_random_bits(x);
  args.philox.used = rng_state.mutable_data_ptr<int64_t>();
  cpu::run(args);
  return {output, mean, variance, rng_state};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> native_backward(const at::Tensor& grad_output, const at::Tensor& x,
                                                               const at::Tensor& weight, const at::Tensor& bias,
                                                               const at::Tensor& mean, const at::Tensor& variance,
                                                               const at::Tensor& rng_state, double p, double slope,
                                                               double eps) {
  constexpr auto op = "native_batch_norm_leaky_dropout_backward";
  const Numbers numbers{p, slope, eps};
  check_arguments(op, x, weight, bias, numbers);
  check_for_kernel(op, x, weight, bias);
  check_same(op, "grad_output", grad_output, "x", x);
  check_same(op, "mean", mean, "weight", weight);
  check_same(op, "variance", variance, "weight", weight);
  check_rng_state(op, rng_state, x);
  at::Tensor grad_x = at::empty_like(x), grad_weight = at::empty_like(weight), grad_bias = at::empty_like(bias);
  if (x.is_meta()) return {grad_x, grad_weight, grad_bias};

  BatchNormArgs args = batch_norm_args(x, weight, bias, grad_x, numbers);
  const at::Tensor given = laid_out_as(x, grad_output, grad_x);
  const at::Tensor means = mean.contiguous(), variances = variance.contiguous(), state = rng_state.contiguous();
  args.grad_output = given.const_data_ptr();
  args.mean = const_cast<void*>(means.const_data_ptr());  // which backward only reads
  args.variance = const_cast<void*>(variances.const_data_ptr());
  args.grad_weight = grad_weight.mutable_data_ptr();
  args.grad_bias = grad_bias.mutable_data_ptr();
  args.philox.seed_at = state.const_data_ptr<int64_t>();
  args.philox.offset_at = args.philox.seed_at + 1;
  cpu::run(args);
  return {grad_x, grad_weight, grad_bias};
}

auto call_forward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const Numbers& numbers) {
  static const auto op = operation<decltype(native)>("amgan_fast::native_batch_norm_leaky_dropout");
  return op.call(x, weight, bias, numbers.p, numbers.slope, numbers.eps);
}

using Gradients = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

// The gradients by torch's own differentiable operations, to which mean and variance are functions of x.
Gradients differentiable_backward(const at::Tensor& grad_output, const at::Tensor& x, const at::Tensor& weight,
                                  const at::Tensor& bias, const at::Tensor& mean, const at::Tensor& variance,
                                  const at::Tensor& rng_state, const Numbers& numbers) {
  at::Tensor z;
  {
    // What forward saw, to the bit: the sign of a value at zero is one of rounding.
    const at::AutoDispatchBelowADInplaceOrView below;
    z = std::get<0>(call_forward(x, weight, bias, {0, 1, numbers.eps}));
  }
  const at::Tensor grad = math::make_leaky_dropout(numbers.p, numbers.slope).dropped > 0
                              ? leaky_dropout_backward(grad_output, z, rng_state, numbers.p, numbers.slope)
                              : at::leaky_relu_backward(grad_output, z, numbers.slope, false);
  const at::Tensor inverse = at::rsqrt(variance.detach() + numbers.eps);
  return at::native_batch_norm_backward(grad, x, weight, {}, {}, mean.detach(), inverse, true, numbers.eps,
                                        {true, true, true});
}

Gradients call_backward(const at::Tensor& grad_output, const at::Tensor& x, const at::Tensor& weight,
                        const at::Tensor& bias, const at::Tensor& mean, const at::Tensor& variance,
                        const at::Tensor& rng_state, const Numbers& numbers) {
  static const auto op = operation<decltype(native_backward)>("amgan_fast::native_batch_norm_leaky_dropout_backward");
  return op.call(grad_output, x, weight, bias, mean, variance, rng_state, numbers.p, numbers.slope, numbers.eps);
}

Gradients native_backward_autograd(const at::Tensor& grad_output, const at::Tensor& x, const at::Tensor& weight,
                                   const at::Tensor& bias, const at::Tensor& mean, const at::Tensor& variance,
                                   const at::Tensor& rng_state, double p, double slope, double eps) {
  const Numbers numbers{p, slope, eps};
  if (is_differentiated(grad_output) || is_differentiated(x) || is_differentiated(weight)) {
    return differentiable_backward(grad_output, x, weight, bias, mean, variance, rng_state, numbers);
  }
  const at::AutoDispatchBelowADInplaceOrView below;
  return call_backward(grad_output, x, weight, bias, mean, variance, rng_state, numbers);
}

// As our kernel wants weights, and because the gradients of torch's batch norm are wrong where they are strided. A zero
// tensor has no memory before it is copied.
at::Tensor contiguous(const at::Tensor& tensor) {
  return tensor._is_zerotensor() ? tensor.clone() : tensor.contiguous();
}

// The outputs without derivatives are no outputs of the function: compiled autograd knows no marks of such.
class BatchNormLeakyDropout : public TraceableFunction<BatchNormLeakyDropout> {
 public:
  static Variable forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                          const Numbers& numbers, NativeOutputs* outputs) {
    const at::AutoDispatchBelowADInplaceOrView below;
    *outputs = call_forward(x, weight, bias, numbers);
    const auto& [output, mean, variance, rng_state] = *outputs;
    ctx->save_for_backward({x, weight, bias, mean, variance, rng_state});
    save_layout(ctx, x);
    ctx->saved_data["p"] = numbers.p;
    ctx->saved_data["slope"] = numbers.slope;
    ctx->saved_data["eps"] = numbers.eps;
    return output;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto number = [&](const char* name) { return ctx->saved_data[name].toDouble(); };
    auto [grad_x, grad_weight, grad_bias] =
        call_backward(grads[0], in_saved_layout(ctx, saved[0]), contiguous(saved[1]), contiguous(saved[2]), saved[3],
                      saved[4], saved[5], {number("p"), number("slope"), number("eps")});
    return {grad_x, grad_weight, grad_bias, Variable(), Variable()};
  }
};

NativeOutputs native_autograd(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double p,
                              double slope, double eps) {
  const Numbers numbers{p, slope, eps};
  if (!is_differentiated(x) && !is_differentiated(weight) && !is_differentiated(bias)) {
    const at::AutoDispatchBelowADInplaceOrView below;
    return call_forward(x, weight, bias, numbers);
  }
  NativeOutputs outputs;
  std::get<0>(outputs) = BatchNormLeakyDropout::apply(x, weight, bias, numbers, &outputs);
  return outputs;
}

using Outputs = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

// torch's batch norm, and leaky_dropout.
Outputs two_operations(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const Numbers& numbers) {
  const at::Tensor z =
      at::batch_norm(x, weight, bias, {}, {}, true, 0, numbers.eps, at::globalContext().userEnabledCuDNN());
  std::vector<int64_t> dimensions{0};
  for (int64_t d = 2; d < x.dim(); ++d) dimensions.push_back(d);
  const auto [variance, mean] = at::var_mean(x.detach().to(weight.scalar_type()), dimensions, 0);
  return {leaky_dropout(z, numbers.p, numbers.slope, true), mean, variance};
}

Outputs batch_norm_leaky_dropout(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double p,
                                 double slope, double eps) {
  const Numbers numbers{p, slope, eps};
  check_arguments("batch_norm_leaky_dropout", x, weight, bias, numbers);
  const at::Tensor weights = contiguous(weight), biases = contiguous(bias);
  const bool has_kernel =
      x.is_cpu() && !x._is_zerotensor() && channels_are_innermost(x) && weight.scalar_type() == loss_dtype(x);
  if (!has_kernel) return two_operations(x, weights, biases, numbers);
  auto [output, mean, variance, rng_state] = call_forward(x, weights, biases, numbers);
  return {output, mean, variance};
}

// Within torch.func.vmap the two have rules of their own, also for what is random.
Outputs batch_norm_leaky_dropout_vmap(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double p,
                                      double slope, double eps) {
  const Numbers numbers{p, slope, eps};
  check_arguments("batch_norm_leaky_dropout", x, weight, bias, numbers);
  return two_operations(x, contiguous(weight), contiguous(bias), numbers);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(amgan_fast, m) {
  m.def(
      "native_batch_norm_leaky_dropout(Tensor x, Tensor weight, Tensor bias, float p, float slope, float eps)"
      " -> (Tensor output, Tensor mean, Tensor variance, Tensor rng_state)",
      {at::Tag::pt2_compliant_tag, at::Tag::nondeterministic_seeded, at::Tag::needs_exact_strides});
  m.def(
      "native_batch_norm_leaky_dropout_backward(Tensor grad_output, Tensor x, Tensor weight, Tensor bias, Tensor mean,"
      " Tensor variance, Tensor rng_state, float p, float slope, float eps)"
      " -> (Tensor grad_x, Tensor grad_weight, Tensor grad_bias)",
      {at::Tag::pt2_compliant_tag, at::Tag::needs_exact_strides});
  m.def(
      "batch_norm_leaky_dropout(Tensor x, Tensor weight, Tensor bias, float p=0.0, float slope=0.2, float eps=1e-05)"
      " -> (Tensor output, Tensor mean, Tensor variance)",
      {at::Tag::pt2_compliant_tag, at::Tag::nondeterministic_seeded});
  implement(m, "native_batch_norm_leaky_dropout", native);
  implement(m, "native_batch_norm_leaky_dropout_backward", native_backward);
  m.impl("native_batch_norm_leaky_dropout", torch::dispatch(c10::DispatchKey::Autograd, native_autograd));
  m.impl("native_batch_norm_leaky_dropout_backward",
         torch::dispatch(c10::DispatchKey::Autograd, native_backward_autograd));
  m.impl("batch_norm_leaky_dropout", batch_norm_leaky_dropout);
  m.impl("batch_norm_leaky_dropout",
         torch::dispatch(c10::DispatchKey::FuncTorchVmapMode, batch_norm_leaky_dropout_vmap));
}

}  // namespace amgan::ops
