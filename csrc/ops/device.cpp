#include "ops/device.h"

#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include "cpu/dispatch.h"

#if defined(AMGAN_WITH_CUDA)
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "cuda/launchers.h"
#endif

namespace amgan::ops {
namespace {

#if defined(AMGAN_WITH_CUDA)
// The workspace comes from torch's allocator: no synchronisation, and a CUDA graph can capture it.
template <typename Args>
void run_cuda(const at::Tensor& tensor, Args& args, int64_t (*workspace_size)(const Args*),
              cudaError_t (*launch)(const Args*, cudaStream_t)) {
  const c10::cuda::CUDAGuard guard(tensor.device());
  at::Tensor workspace;
  if (const int64_t size = workspace_size(&args); size > 0) {
    workspace = at::empty({size}, tensor.options().dtype(at::kDouble));
    args.workspace = workspace.mutable_data_ptr<double>();
  }
  C10_CUDA_CHECK(launch(&args, c10::cuda::getCurrentCUDAStream()));
}
#define AMGAN_RUN_CUDA(word) run_cuda(tensor, args, amgan_cuda_##word##_workspace, amgan_cuda_##word)
#else
#define AMGAN_RUN_CUDA(word) \
  TORCH_CHECK(false, "amgan_fast was built without CUDA kernels; amgan_fast.build_info() says why")
#endif

}  // namespace

void run_kernel(const at::Tensor& tensor, KPlus1Args& args) {
  if (tensor.is_cuda()) {
    AMGAN_RUN_CUDA(kplus1);
  } else {
    cpu::kernels().kplus1(args);
  }
}

void run_kernel(const at::Tensor& tensor, EntropyArgs& args) {
  if (tensor.is_cuda()) {
    AMGAN_RUN_CUDA(entropy);
  } else {
    cpu::kernels().entropy(args);
  }
}

void run_kernel(const at::Tensor& tensor, ScoresArgs& args) {
  if (tensor.is_cuda()) {
    AMGAN_RUN_CUDA(scores);
  } else {
    cpu::kernels().scores(args);
  }
}

}  // namespace amgan::ops
