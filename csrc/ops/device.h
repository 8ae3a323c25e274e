// Hands filled-in arguments to the kernels of the device that holds `tensor`, and draws from its generator.
#pragma once

#include <ATen/core/Tensor.h>

#include "args/batch_norm.h"
#include "args/entropy.h"
#include "args/kplus1.h"
#include "args/leaky_dropout.h"
#include "args/scores.h"

namespace amgan::ops {

void run_kernel(const at::Tensor& tensor, KPlus1Args& args);
void run_kernel(const at::Tensor& tensor, EntropyArgs& args);
void run_kernel(const at::Tensor& tensor, ScoresArgs& args);
void run_kernel(const at::Tensor& tensor, const LeakyDropoutArgs& args);
void run_kernel(const at::Tensor& tensor, const BatchNormArgs& args);  // there is none for CUDA

// Random bits for one call, up to four words for each Philox counter, from torch's default generator: reproducible with
// torch.manual_seed. On the CPU a seed is drawn. On CUDA the generator's sequence goes on, and a CUDA graph that
// captures the call gets new bits with every replay.
PhiloxArgs next_random_bits(const at::Tensor& tensor);

}  // namespace amgan::ops
