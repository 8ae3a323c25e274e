// The derivatives of the multi-hinge.
#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include "ops/hinge.h"
#include "ops/loss_autograd.h"

namespace amgan::ops {
namespace {

struct KPlus1HingeLoss : LossFunction<KPlus1HingeLoss> {
  using Arguments = HingeArguments;
  static constexpr auto name = "kplus1_hinge_loss";
  static constexpr std::array logits{0};
  static constexpr int reduction = 4;

  static void check(const Arguments& arguments) { ops::check(call_of(name, arguments)); }
  static void check_label_range(const Arguments& arguments) { ops::check_label_range(call_of(name, arguments)); }
  static DoubleBackward double_backward(const at::Tensor& grad_grad, const at::Tensor& grad_output,
                                        const Arguments& arguments, size_t) {
    return LossOperations<KPlus1HingeLoss>::double_backward(grad_grad, grad_output, arguments);
  }

  // 0, and NaN in rows whose loss is: those with NaN or +inf, or with no column but -inf.
  static at::Tensor hessian_product(const Arguments& arguments, const at::Tensor& logits, const at::Tensor& v) {
    at::Tensor largest = logits.detach().to(v.scalar_type()).amax(1, true);
    if (!parse_fake(name, std::get<3>(arguments))) largest = largest.clamp_min(0);
    return at::zeros_like(v) + (largest - largest);
  }
};

}  // namespace

TORCH_LIBRARY_IMPL(amgan_fast, Autograd, m) {
  differentiate<KPlus1HingeLoss>(m);
  differentiate_twice<KPlus1HingeLoss>(m);
}

TORCH_LIBRARY_IMPL(amgan_fast, CUDA, m) {
  implement_plainly<KPlus1HingeLoss>(m);
}

}  // namespace amgan::ops
