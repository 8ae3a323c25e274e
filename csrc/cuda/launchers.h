// The CUDA launchers: raw pointers on the current device, a stream, no synchronisation, no allocation.
// Each returns the first error of its launches. The workspace functions say how many doubles to provide.
#pragma once

#include <cuda_runtime_api.h>

#include "args/entropy.h"
#include "args/kplus1.h"
#include "args/leaky_dropout.h"
#include "args/scores.h"

extern "C" {
int64_t amgan_cuda_kplus1_workspace(const amgan::KPlus1Args* args);
cudaError_t amgan_cuda_kplus1(const amgan::KPlus1Args* args, cudaStream_t stream);

int64_t amgan_cuda_entropy_workspace(const amgan::EntropyArgs* args);
cudaError_t amgan_cuda_entropy(const amgan::EntropyArgs* args, cudaStream_t stream);

int64_t amgan_cuda_scores_workspace(const amgan::ScoresArgs* args);
cudaError_t amgan_cuda_scores(const amgan::ScoresArgs* args, cudaStream_t stream);

cudaError_t amgan_cuda_leaky_dropout(const amgan::LeakyDropoutArgs* args, cudaStream_t stream);
}
