// The derivatives of leaky_dropout.
#include <torch/library.h>

#include "ops/autograd.h"
#include "ops/leaky_dropout.h"
#include "ops/saved_layout.h"

namespace amgan::ops {
namespace {

// What the derivatives of either operation need: the output, the state of the generator, p and slope.
void save(AutogradContext* ctx, const at::Tensor& output, const at::Tensor& rng_state, double p, double slope) {
  ctx->save_for_backward({output, rng_state});
  save_layout(ctx, output);
  ctx->saved_data["p"] = p;
  ctx->saved_data["slope"] = slope;
}

at::Tensor times_factors(AutogradContext* ctx, const at::Tensor& grad) {
  const auto saved = ctx->get_saved_variables();
  return leaky_dropout_backward(grad, in_saved_layout(ctx, saved[0]), saved[1], ctx->saved_data["p"].toDouble(),
                                ctx->saved_data["slope"].toDouble());
}

class LeakyDropout : public TraceableFunction<LeakyDropout> {
 public:
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x, double p, double slope) {
    const BelowAutograd below;
    auto [output, rng_state] = leaky_dropout_forward(x, p, slope);
    save(ctx, output, rng_state, p, slope);
    return {output, rng_state};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    return {times_factors(ctx, grads[0]), Variable(), Variable()};
  }
};

// Linear in grad_output, and constant in output but for its sign.
class LeakyDropoutBackward : public TraceableFunction<LeakyDropoutBackward> {
 public:
  static Variable forward(AutogradContext* ctx, const at::Tensor& grad_output, const at::Tensor& output,
                          const at::Tensor& rng_state, double p, double slope) {
    save(ctx, output, rng_state, p, slope);
    const BelowAutograd below;
    return leaky_dropout_backward(grad_output, output, rng_state, p, slope);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    return {times_factors(ctx, grads[0]), Variable(), Variable(), Variable(), Variable()};
  }
};

std::tuple<at::Tensor, at::Tensor> differentiable(const at::Tensor& x, double p, double slope) {
  if (!is_differentiated(x)) {
    const BelowAutograd below;
    return leaky_dropout_forward(x, p, slope);
  }
  const auto outputs = LeakyDropout::apply(x, p, slope);
  return {outputs[0], outputs[1]};
}

at::Tensor differentiable_backward(const at::Tensor& grad_output, const at::Tensor& output, const at::Tensor& rng_state,
                                   double p, double slope) {
  return LeakyDropoutBackward::apply(grad_output, output, rng_state, p, slope);
}

}  // namespace

TORCH_LIBRARY_IMPL(amgan_fast, Autograd, m) {
  m.impl("native_leaky_dropout", differentiable);
  m.impl("native_leaky_dropout_backward", differentiable_backward);
}

}  // namespace amgan::ops
