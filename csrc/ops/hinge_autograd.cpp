// The derivatives of the multi-hinge.
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include <limits>

#include "ops/hinge.h"
#include "ops/loss_autograd.h"
#include "ops/plain.h"

namespace amgan::ops {
namespace {

struct KPlus1HingeLoss : LossFunction<KPlus1HingeLoss> {
  using Arguments = HingeArguments;
  static constexpr auto name = "kplus1_hinge_loss";
  static constexpr std::array logits{0};
  static constexpr int reduction = 4;

  static void check(const Arguments& arguments) { ops::check(call_of(name, arguments)); }
  static void check_values(const Arguments& arguments) { ops::check_values(call_of(name, arguments)); }

  static at::Tensor plain(const Arguments& arguments) {
    const auto& [logits, labels, margin, fake, reduction_name, row_weight] = arguments;
    const KPlus1Call call = call_of(name, arguments);
    check_all(call);
    at::Tensor columns = logits.to(loss_dtype(logits));
    const at::Tensor real = call.fake_column ? columns.narrow(1, 0, columns.size(1) - 1) : columns;
    if (!call.fake_column) columns = at::cat({columns, at::zeros_like(columns.narrow(1, 0, 1))}, 1);
    const at::Tensor label = (labels ? labels->to(at::kLong) : real.detach().argmax(1)).unsqueeze(1);
    const at::Tensor runner_up =
        std::get<0>(columns.scatter(1, label, -std::numeric_limits<double>::infinity()).max(1));
    const at::Tensor largest = columns.detach().amax(1);
    // NaN in any column, +inf in any or -inf in all show in loss and gradient.
    const at::Tensor sound = 1 + (largest - largest);
    const at::Tensor rows = ((margin + (runner_up - columns.gather(1, label).squeeze(1))) * sound).relu();
    return reduced(weighted_losses(rows, pointer(row_weight)), call.reduction);
  }

  static DoubleBackward double_backward(const at::Tensor& grad_grad, const at::Tensor& grad_output,
                                        const Arguments& arguments, size_t) {
    return LossOperations<KPlus1HingeLoss>::double_backward(grad_grad, grad_output, arguments);
  }

  // 0, and NaN in rows whose loss is: those with NaN or +inf, or with no column but -inf.
  static at::Tensor hessian_product(const Arguments& arguments, const at::Tensor& logits, const at::Tensor& v) {
    at::Tensor largest = logits.detach().to(v.scalar_type()).amax(1, true);
    if (!parse_fake(name, std::get<3>(arguments))) largest = largest.clamp_min(0);
    return weighted_rows(at::zeros_like(v) + (largest - largest), std::get<5>(arguments));
  }
};

}  // namespace

TORCH_LIBRARY_IMPL(amgan_fast, Autograd, m) {
  differentiate<KPlus1HingeLoss>(m);
  differentiate_twice<KPlus1HingeLoss>(m);
}

TORCH_LIBRARY_IMPL(amgan_fast, FuncTorchBatchedDecomposition, m) {
  take_apart<KPlus1HingeLoss>(m);
}

TORCH_LIBRARY_IMPL(amgan_fast, CUDA, m) {
  implement_plainly<KPlus1HingeLoss>(m);
}

}  // namespace amgan::ops
