// What batch_norm_leaky_dropout and its native operations take, and those as differentiable functions. Python's
// signature and its meaning: amgan_fast/ops/batch_norm.py.
#pragma once

#include <ATen/core/Tensor.h>

#include <tuple>

namespace amgan::ops {

// x, weight, bias, p, slope, eps
using BatchNormArguments = std::tuple<const at::Tensor&, const at::Tensor&, const at::Tensor&, double, double, double>;

// grad_output, x, weight, bias, mean, variance, rng_state, p, slope, eps
using BatchNormBackwardArguments =
    std::tuple<const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
               const at::Tensor&, const at::Tensor&, double, double, double>;

// The output, mean and variance of the batch, and the state of the generator.
using BatchNormOutputs = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

// With respect to x, weight and bias.
using BatchNormGradients = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

// These call the registered operations.
BatchNormOutputs batch_norm_forward(const BatchNormArguments& arguments);
BatchNormGradients batch_norm_backward(const BatchNormBackwardArguments& arguments);

// As our kernel wants weights, and because the gradients of torch's batch norm are wrong where they are strided. A zero
// tensor has no memory before it is copied.
inline at::Tensor contiguous(const at::Tensor& tensor) {
  return tensor._is_zerotensor() ? tensor.clone() : tensor.contiguous();
}

}  // namespace amgan::ops
