// leaky_dropout: leaky ReLU, then dropout. Its output and the state of the generator are all that backward needs.
// Autograd is in leaky_dropout_autograd.cpp.
#include "ops/leaky_dropout.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/leaky_relu.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <limits>

#include "args/leaky_dropout.h"
#include "ops/check.h"
#include "ops/device.h"
#include "ops/register.h"
#include "ops/tensors.h"

namespace amgan::ops {
namespace {

void check_arguments(const char* op, const at::Tensor& x, double p, double slope) {
  check_floating(op, "x", x);
  check_fraction(op, "p", p);
  check_slope(op, slope);  // a negative one would give an output whose sign is not that of x
}

LeakyDropoutArgs leaky_dropout_args(const at::Tensor& values, at::Tensor& out, double p, double slope) {
  LeakyDropoutArgs args{};
  args.dtype = dtype_of(out);
  args.values = values.const_data_ptr();
  args.out = out.mutable_data_ptr();
  args.size = out.numel();
  args.factors = math::make_leaky_dropout(p, slope);
  return args;
}

std::tuple<at::Tensor, at::Tensor> native_leaky_dropout(const at::Tensor& x, double p, double slope) {
  check_arguments("native_leaky_dropout", x, p, slope);
  at::Tensor output = at::empty_like(x);
  at::Tensor rng_state = at::empty({2}, x.options().dtype(at::kLong));
  if (x.is_meta()) return {output, rng_state};

  LeakyDropoutArgs args = leaky_dropout_args(laid_out_as(output, x, output), output, p, slope);
  args.philox = next_random_bits(x);
  args.philox.used = rng_state.mutable_data_ptr<int64_t>();
  run_kernel(output, args);
  return {output, rng_state};
}

at::Tensor native_leaky_dropout_backward(const at::Tensor& grad_output, const at::Tensor& output,
                                         const at::Tensor& rng_state, double p, double slope) {
  constexpr auto op = "native_leaky_dropout_backward";
  check_arguments(op, output, p, slope);
  check_same(op, "grad_output", grad_output, "output", output);
  check_rng_state(op, rng_state, output);
  at::Tensor grad = at::empty_like(output);
  if (output.is_meta()) return grad;

  at::Tensor signs = output.strides() == grad.strides() ? output : at::empty_like(output).copy_(output);
  LeakyDropoutArgs args = leaky_dropout_args(laid_out_as(grad, grad_output, grad), grad, p, slope);
  const at::Tensor state = rng_state.contiguous();
  args.signs = signs.const_data_ptr();
  args.philox.seed_at = state.const_data_ptr<int64_t>();
  args.philox.offset_at = args.philox.seed_at + 1;
  run_kernel(grad, args);
  return grad;
}

// Within torch.func.vmap the seed is drawn by an operation of torch's: it is refused, the same for all or one for each,
// as the user asked for. x times its factors is then what forward would have computed from it.
std::tuple<at::Tensor, at::Tensor> native_leaky_dropout_vmap(const at::Tensor& x, double p, double slope) {
  const auto options = x.options().dtype(at::kLong);
  const at::Tensor seed = at::randint(std::numeric_limits<int64_t>::max(), {1}, options);
  const at::Tensor rng_state = at::cat({seed, at::zeros({1}, options)});
  return {leaky_dropout_backward(x, x, rng_state, p, slope), rng_state};
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> leaky_dropout_forward(const at::Tensor& x, double p, double slope) {
  static const auto op = operation<decltype(native_leaky_dropout)>("native_leaky_dropout");
  return op.call(x, p, slope);
}

at::Tensor leaky_dropout_backward(const at::Tensor& grad_output, const at::Tensor& output, const at::Tensor& rng_state,
                                  double p, double slope) {
  static const auto op = operation<decltype(native_leaky_dropout_backward)>("native_leaky_dropout_backward");
  return op.call(grad_output, output, rng_state, p, slope);
}

at::Tensor leaky_dropout(const at::Tensor& x, double p, double slope, bool training) {
  check_arguments("leaky_dropout", x, p, slope);
  return training && p > 0 ? std::get<0>(leaky_dropout_forward(x, p, slope)) : at::leaky_relu(x, slope);
}

TORCH_LIBRARY_FRAGMENT(amgan_fast, m) {
  // Like native_dropout of torch: the output, and what tells which elements were dropped, here seed and offset.
  m.def("native_leaky_dropout(Tensor x, float p, float slope) -> (Tensor output, Tensor rng_state)",
        {at::Tag::pt2_compliant_tag, at::Tag::nondeterministic_seeded, at::Tag::needs_exact_strides});
  m.def(
      "native_leaky_dropout_backward(Tensor grad_output, Tensor output, Tensor rng_state, float p, float slope)"
      " -> Tensor",
      {at::Tag::pt2_compliant_tag, at::Tag::needs_exact_strides});
  m.def("leaky_dropout(Tensor x, float p=0.5, float slope=0.2, *, bool training=True) -> Tensor",
        {at::Tag::pt2_compliant_tag, at::Tag::nondeterministic_seeded});
  implement(m, "native_leaky_dropout", native_leaky_dropout);
  implement(m, "native_leaky_dropout_backward", native_leaky_dropout_backward);
  m.impl("leaky_dropout", leaky_dropout);
  m.impl("native_leaky_dropout", torch::dispatch(c10::DispatchKey::FuncTorchVmapMode, native_leaky_dropout_vmap));
  m.impl("leaky_dropout", torch::dispatch(c10::DispatchKey::FuncTorchVmapMode, leaky_dropout));
}

}  // namespace amgan::ops
