// Hands filled-in arguments to the kernels of the device that holds `tensor`, and draws from its generator.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include "args/philox.h"
#include "cpu/dispatch.h"

#if AMGAN_WITH_CUDA
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "cuda/launchers.h"
#endif

namespace amgan::ops {

#if AMGAN_WITH_CUDA
// Which counter the next launch on this stream uses for its total (tickets.h).
int next_ticket(cudaStream_t stream);
#endif

// The type of the arguments says which kernel. The workspace that some want comes from torch's allocator: no
// synchronisation, and a CUDA graph can capture it.
template <typename Args>
void run_kernel(const at::Tensor& tensor, Args args) {
  if (!tensor.is_cuda()) return cpu::run(args);
#if AMGAN_WITH_CUDA
  const c10::cuda::CUDAGuard guard(tensor.device());
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream();
  at::Tensor workspace;
  if constexpr (requires { args.workspace; }) {
    if (const int64_t size = cuda::workspace_size(args); size > 0) {
      workspace = at::empty({size}, tensor.options().dtype(at::kDouble));
      args.workspace = workspace.mutable_data_ptr<double>();
      if constexpr (requires { args.ticket; }) args.ticket = next_ticket(stream);
    }
  }
  C10_CUDA_CHECK(cuda::launch(args, stream));
#else
  TORCH_CHECK(false, "amgan_fast was built without CUDA kernels; amgan_fast.build_info() says why");
#endif
}

// Random bits for one call, up to four words for each Philox counter, from torch's default generator: reproducible with
// torch.manual_seed. On the CPU a seed is drawn. On CUDA the generator's sequence goes on, and a CUDA graph that
// captures the call gets new bits with every replay.
PhiloxArgs next_random_bits(const at::Tensor& tensor);

}  // namespace amgan::ops
