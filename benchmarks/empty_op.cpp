// What an operation costs that does nothing but allocate: the same arguments and outputs as
// am_discriminator_loss_and_grad, through the same dispatcher. Compiled by bench_ops.py.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

namespace {

std::tuple<at::Tensor, at::Tensor, at::Tensor> empty_three(const at::Tensor& real_logits, const at::Tensor& labels,
                                                           const at::Tensor& fake_logits) {
  return {at::empty({}, real_logits.options()), at::empty_like(real_logits), at::empty_like(fake_logits)};
}

}  // namespace

TORCH_LIBRARY(amgan_bench, m) {
  m.def("empty_three(Tensor real_logits, Tensor labels, Tensor fake_logits) -> (Tensor, Tensor, Tensor)", empty_three);
}
