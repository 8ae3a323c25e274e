// batch_norm_leaky_dropout: batch norm with the statistics of the batch, leaky ReLU and dropout. Its input, the
// statistics and the state of the generator are all that backward needs.
// Autograd is in batch_norm_autograd.cpp.
#include "ops/batch_norm.h"

#include <ATen/Context.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/var_mean.h>
#include <torch/library.h>

#include <array>
#include <cmath>
#include <vector>

#include "args/batch_norm.h"
#include "cpu/dispatch.h"
#include "ops/check.h"
#include "ops/device.h"
#include "ops/leaky_dropout.h"
#include "ops/register.h"
#include "ops/tensors.h"

namespace amgan::ops {
namespace {

// Whether the channels of [N, C] or [N, C, H, W] are innermost in memory.
bool channels_are_innermost(const at::Tensor& x) {
  return x.dim() == 2 ? x.is_contiguous() : x.dim() == 4 && x.is_contiguous(at::MemoryFormat::ChannelsLast);
}

void check_arguments(const char* op, const BatchNormArguments& arguments) {
  const auto& [x, weight, bias, p, slope, eps] = arguments;
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
  check_fraction(op, "p", p);
  check_slope(op, slope);
  TORCH_CHECK_VALUE(eps > 0 && std::isfinite(eps), op, ": eps is ", eps, ", wanted a positive finite number");
}

void check_for_kernel(const char* op, const BatchNormArguments& arguments) {
  const auto& [x, weight, bias, p, slope, eps] = arguments;
  check_arguments(op, arguments);
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

BatchNormArgs batch_norm_args(const BatchNormArguments& arguments, at::Tensor& out) {
  const auto& [x, weight, bias, p, slope, eps] = arguments;
  BatchNormArgs args{};
  args.dtype = dtype_of(x);
  args.channels = x.size(1);
  args.rows = x.numel() / args.channels;
  args.x = x.const_data_ptr();
  args.out = out.mutable_data_ptr();
  args.weight = weight.const_data_ptr();
  args.bias = bias.const_data_ptr();
  args.epsilon = eps;
  args.factors = math::make_leaky_dropout(p, slope);
  return args;
}

BatchNormOutputs native(const BatchNormArguments& arguments) {
  const auto& [x, weight, bias, p, slope, eps] = arguments;
  check_for_kernel("native_batch_norm_leaky_dropout", arguments);
  at::Tensor output = at::empty_like(x), mean = at::empty_like(weight), variance = at::empty_like(weight);
  at::Tensor rng_state = at::empty({2}, x.options().dtype(at::kLong));
  if (x.is_meta()) return {output, mean, variance, rng_state};

  BatchNormArgs args = batch_norm_args(arguments, output);
  args.mean = mean.mutable_data_ptr();
  args.variance = variance.mutable_data_ptr();
  if (args.factors.dropped > 0) args.philox = next_random_bits(x);
  args.philox.used = rng_state.mutable_data_ptr<int64_t>();
  cpu::run(args);
  return {output, mean, variance, rng_state};
}

BatchNormGradients native_backward(const BatchNormBackwardArguments& given) {
  constexpr auto op = "native_batch_norm_leaky_dropout_backward";
  const auto& [grad_output, x, weight, bias, mean, variance, rng_state, p, slope, eps] = given;
  const BatchNormArguments arguments{x, weight, bias, p, slope, eps};
  check_for_kernel(op, arguments);
  check_same(op, "grad_output", grad_output, "x", x);
  check_same(op, "mean", mean, "weight", weight);
  check_same(op, "variance", variance, "weight", weight);
  check_rng_state(op, rng_state, x);
  at::Tensor grad_x = at::empty_like(x), grad_weight = at::empty_like(weight), grad_bias = at::empty_like(bias);
  if (x.is_meta()) return {grad_x, grad_weight, grad_bias};

  BatchNormArgs args = batch_norm_args(arguments, grad_x);
  const at::Tensor upstream = laid_out_as(x, grad_output, grad_x);
  const at::Tensor means = mean.contiguous(), variances = variance.contiguous(), state = rng_state.contiguous();
  args.grad_output = upstream.const_data_ptr();
  args.mean = const_cast<void*>(means.const_data_ptr());  // which backward only reads
  args.variance = const_cast<void*>(variances.const_data_ptr());
  args.grad_weight = grad_weight.mutable_data_ptr();
  args.grad_bias = grad_bias.mutable_data_ptr();
  args.philox.seed_at = state.const_data_ptr<int64_t>();
  args.philox.offset_at = args.philox.seed_at + 1;
  cpu::run(args);
  return {grad_x, grad_weight, grad_bias};
}

using Outputs = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

// torch's batch norm, and leaky_dropout.
Outputs two_operations(const BatchNormArguments& arguments) {
  const auto& [x, weight, bias, p, slope, eps] = arguments;
  const at::Tensor z = at::batch_norm(x, weight, bias, {}, {}, true, 0, eps, at::globalContext().userEnabledCuDNN());
  std::vector<int64_t> dimensions{0};
  for (int64_t d = 2; d < x.dim(); ++d) dimensions.push_back(d);
  const auto [variance, mean] = at::var_mean(x.detach().to(weight.scalar_type()), dimensions, 0);
  return {leaky_dropout(z, p, slope, true), mean, variance};
}

// The same arguments with contiguous weights, which are kept in `weights`.
BatchNormArguments with_contiguous(const BatchNormArguments& arguments, std::array<at::Tensor, 2>& weights) {
  const auto& [x, weight, bias, p, slope, eps] = arguments;
  weights = {contiguous(weight), contiguous(bias)};
  return {x, weights[0], weights[1], p, slope, eps};
}

Outputs batch_norm_leaky_dropout(const BatchNormArguments& given) {
  check_arguments("batch_norm_leaky_dropout", given);
  std::array<at::Tensor, 2> weights;
  const BatchNormArguments arguments = with_contiguous(given, weights);
  const at::Tensor& x = std::get<0>(arguments);
  const bool has_kernel =
      x.is_cpu() && !x._is_zerotensor() && channels_are_innermost(x) && weights[0].scalar_type() == loss_dtype(x);
  if (!has_kernel) return two_operations(arguments);
  auto [output, mean, variance, rng_state] = batch_norm_forward(arguments);
  return {output, mean, variance};
}

// Within torch.func.vmap the two have rules of their own, also for what is random.
Outputs batch_norm_leaky_dropout_vmap(const BatchNormArguments& given) {
  check_arguments("batch_norm_leaky_dropout", given);
  std::array<at::Tensor, 2> weights;
  return two_operations(with_contiguous(given, weights));
}

}  // namespace

BatchNormOutputs batch_norm_forward(const BatchNormArguments& arguments) {
  static const Operation<BatchNormOutputs, BatchNormArguments> call("native_batch_norm_leaky_dropout");
  return call(arguments);
}

BatchNormGradients batch_norm_backward(const BatchNormBackwardArguments& arguments) {
  static const Operation<BatchNormGradients, BatchNormBackwardArguments> call(
      "native_batch_norm_leaky_dropout_backward");
  return call(arguments);
}

TORCH_LIBRARY_FRAGMENT(amgan_fast, m) {
  m.def(R"(native_batch_norm_leaky_dropout(Tensor x, Tensor weight, Tensor bias, float p, float slope, float eps) -> (
    Tensor output, Tensor mean, Tensor variance, Tensor rng_state))",
        {at::Tag::pt2_compliant_tag, at::Tag::nondeterministic_seeded, at::Tag::needs_exact_strides});
  m.def(R"(native_batch_norm_leaky_dropout_backward(
    Tensor grad_output, Tensor x, Tensor weight, Tensor bias, Tensor mean, Tensor variance, Tensor rng_state,
    float p, float slope, float eps) -> (Tensor grad_x, Tensor grad_weight, Tensor grad_bias))",
        {at::Tag::pt2_compliant_tag, at::Tag::needs_exact_strides});
  m.def(R"(batch_norm_leaky_dropout(
    Tensor x, Tensor weight, Tensor bias, float p=0.0, float slope=0.2, float eps=1e-05) -> (
    Tensor output, Tensor mean, Tensor variance))",
        {at::Tag::pt2_compliant_tag, at::Tag::nondeterministic_seeded});
  implement(m, "native_batch_norm_leaky_dropout", Unpacked<native>::call);
  implement(m, "native_batch_norm_leaky_dropout_backward", Unpacked<native_backward>::call);
  const auto composite = Unpacked<batch_norm_leaky_dropout>::call,
             mapped = Unpacked<batch_norm_leaky_dropout_vmap>::call;
  m.impl("batch_norm_leaky_dropout", composite);
  m.impl("batch_norm_leaky_dropout", torch::dispatch(c10::DispatchKey::FuncTorchVmapMode, mapped));
}

}  // namespace amgan::ops
