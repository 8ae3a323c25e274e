// The derivatives of the class entropy.
#include <ATen/ops/log_softmax.h>
#include <torch/library.h>

#include "ops/entropy.h"
#include "ops/loss_autograd.h"
#include "ops/plain.h"

namespace amgan::ops {
namespace {

struct ClassEntropy : LossFunction<ClassEntropy> {
  using Arguments = EntropyArguments;
  static constexpr auto name = "class_entropy";
  static constexpr std::array logits{0};
  static constexpr int reduction = 1;

  static void check(const Arguments& arguments) { ops::check(name, arguments); }
  static void check_values(const Arguments& arguments) { ops::check_values(name, arguments); }

  static at::Tensor plain(const Arguments& arguments) {
    const auto& [logits, _, row_weight] = arguments;
    const Reduction reduction = ops::check(name, arguments);
    check_values(arguments);
    const at::Tensor log_prob = at::log_softmax(logits, 1, loss_dtype(logits)), prob = log_prob.exp();
    const at::Tensor rows = -(prob * log_prob.masked_fill(prob == 0, 0.0)).sum(1);
    return reduced(weighted_losses(rows, pointer(row_weight)), reduction);
  }

  static DoubleBackward double_backward(const at::Tensor& grad_grad, const at::Tensor& grad_output,
                                        const Arguments& arguments, size_t) {
    return LossOperations<ClassEntropy>::double_backward(grad_grad, grad_output, arguments);
  }

  // With g_k = -p_k (log p_k + H) the gradient: H'' v = -p (v - p.v) (log p + H + 1) - p (g.v).
  static at::Tensor hessian_product(const Arguments& arguments, const at::Tensor& logits, const at::Tensor& v) {
    const at::Tensor log_prob = at::log_softmax(logits, 1, loss_dtype(logits));
    const at::Tensor prob = log_prob.exp();
    const at::Tensor finite = log_prob.masked_fill(prob == 0, 0.0);
    const at::Tensor entropy = -(prob * finite).sum(1, true);
    const at::Tensor gradient = -prob * (finite + entropy);
    return weighted_rows(-softmax_jvp(prob, v) * (finite + entropy + 1) - prob * (gradient * v).sum(1, true),
                         std::get<2>(arguments));
  }
};

}  // namespace

TORCH_LIBRARY_IMPL(amgan_fast, Autograd, m) {
  differentiate<ClassEntropy>(m);
  differentiate_twice<ClassEntropy>(m);
}

TORCH_LIBRARY_IMPL(amgan_fast, FuncTorchBatchedDecomposition, m) {
  take_apart<ClassEntropy>(m);
}

TORCH_LIBRARY_IMPL(amgan_fast, CUDA, m) {
  implement_plainly<ClassEntropy>(m);
}

}  // namespace amgan::ops
