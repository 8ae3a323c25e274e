// The CUDA launchers: raw pointers on the current device, a stream, no synchronisation, no allocation.
//
// A launcher is found by the type of its arguments: its file specialises `launch`, and `workspace_size` where the
// arguments have a `workspace`. There is nothing to add here for a new one.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace amgan::cuda {

// Returns the first error of its launches.
template <typename Args>
cudaError_t launch(const Args& args, cudaStream_t stream);

// How many doubles to provide as args.workspace.
template <typename Args>
int64_t workspace_size(const Args& args);

}  // namespace amgan::cuda
