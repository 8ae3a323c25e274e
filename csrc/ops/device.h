// Hands filled-in arguments to the kernels of the device that holds `tensor`.
#pragma once

#include <ATen/core/Tensor.h>

#include "args/entropy.h"
#include "args/kplus1.h"
#include "args/scores.h"

namespace amgan::ops {

void run_kernel(const at::Tensor& tensor, KPlus1Args& args);
void run_kernel(const at::Tensor& tensor, EntropyArgs& args);
void run_kernel(const at::Tensor& tensor, ScoresArgs& args);

}  // namespace amgan::ops
