// leaky_dropout for the operations made of it. Python's signature and its meaning: amgan_fast/ops/leaky_dropout.py.
#pragma once

#include <ATen/core/Tensor.h>

#include <tuple>

namespace amgan::ops {

// These call the registered operations and are differentiable.

at::Tensor leaky_dropout(const at::Tensor& x, double p, double slope, bool training);

// The output, and which elements were dropped: the state of the generator, seed and offset.
std::tuple<at::Tensor, at::Tensor> leaky_dropout_forward(const at::Tensor& x, double p, double slope);

// `output`: anything of the sign of the leaky ReLU's input.
at::Tensor leaky_dropout_backward(const at::Tensor& grad_output, const at::Tensor& output, const at::Tensor& rng_state,
                                  double p, double slope);

// The values of `tensor` where those of `like` lie in memory, which is dense: `tensor` itself, or a copy in `place`.
inline const at::Tensor& laid_out_as(const at::Tensor& like, const at::Tensor& tensor, at::Tensor& place) {
  return tensor.strides() == like.strides() ? tensor : place.copy_(tensor);
}

}  // namespace amgan::ops
