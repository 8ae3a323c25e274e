#include "ops/device.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include "cpu/dispatch.h"

#if defined(AMGAN_WITH_CUDA)
#include <ATen/cuda/CUDAGeneratorImpl.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "cuda/launchers.h"
#endif

namespace amgan::ops {
namespace {

#if defined(AMGAN_WITH_CUDA)
template <typename Args>
void run_cuda(const at::Tensor& tensor, const Args& args, cudaError_t (*launch)(const Args*, cudaStream_t)) {
  const c10::cuda::CUDAGuard guard(tensor.device());
  C10_CUDA_CHECK(launch(&args, c10::cuda::getCurrentCUDAStream()));
}

// The workspace comes from torch's allocator: no synchronisation, and a CUDA graph can capture it.
template <typename Args>
void run_cuda(const at::Tensor& tensor, Args& args, cudaError_t (*launch)(const Args*, cudaStream_t),
              int64_t (*workspace_size)(const Args*)) {
  const c10::cuda::CUDAGuard guard(tensor.device());
  at::Tensor workspace;
  if (const int64_t size = workspace_size(&args); size > 0) {
    workspace = at::empty({size}, tensor.options().dtype(at::kDouble));
    args.workspace = workspace.mutable_data_ptr<double>();
  }
  C10_CUDA_CHECK(launch(&args, c10::cuda::getCurrentCUDAStream()));
}

PhiloxArgs next_of_cuda(const at::Tensor& tensor) {
  constexpr uint64_t kWords = 4;  // what the sequence of each counter goes on by
  auto* generator =
      at::check_generator<at::CUDAGeneratorImpl>(at::cuda::detail::getDefaultCUDAGenerator(tensor.device().index()));
  const std::lock_guard<std::mutex> lock(generator->mutex_);
  const at::PhiloxCudaState state = generator->philox_cuda_state(kWords);
  if (state.captured_) return {0, state.offset_intragraph_, state.seed_.ptr, state.offset_.ptr, nullptr};
  return {state.seed_.val, state.offset_.val, nullptr, nullptr, nullptr};
}
#define AMGAN_ON_CUDA(call) call
#else
#define AMGAN_ON_CUDA(call) \
  TORCH_CHECK(false, "amgan_fast was built without CUDA kernels; amgan_fast.build_info() says why")
#endif

PhiloxArgs next_of_cpu() {
  auto* generator =
      at::get_generator_or_default<at::CPUGeneratorImpl>(std::nullopt, at::detail::getDefaultCPUGenerator());
  const std::lock_guard<std::mutex> lock(generator->mutex_);
  return {generator->random64(), 0, nullptr, nullptr, nullptr};
}

}  // namespace

void run_kernel(const at::Tensor& tensor, KPlus1Args& args) {
  if (tensor.is_cuda()) {
    AMGAN_ON_CUDA(run_cuda(tensor, args, amgan_cuda_kplus1, amgan_cuda_kplus1_workspace));
  } else {
    cpu::kernels().kplus1(args);
  }
}

void run_kernel(const at::Tensor& tensor, EntropyArgs& args) {
  if (tensor.is_cuda()) {
    AMGAN_ON_CUDA(run_cuda(tensor, args, amgan_cuda_entropy, amgan_cuda_entropy_workspace));
  } else {
    cpu::kernels().entropy(args);
  }
}

void run_kernel(const at::Tensor& tensor, ScoresArgs& args) {
  if (tensor.is_cuda()) {
    AMGAN_ON_CUDA(run_cuda(tensor, args, amgan_cuda_scores, amgan_cuda_scores_workspace));
  } else {
    cpu::kernels().scores(args);
  }
}

void run_kernel(const at::Tensor& tensor, const LeakyDropoutArgs& args) {
  if (tensor.is_cuda()) {
    AMGAN_ON_CUDA(run_cuda(tensor, args, amgan_cuda_leaky_dropout));
  } else {
    cpu::kernels().leaky_dropout(args);
  }
}

void run_kernel(const at::Tensor&, const BatchNormArgs& args) {
  cpu::kernels().batch_norm(args);
}

PhiloxArgs next_random_bits(const at::Tensor& tensor) {
  if (tensor.is_cuda()) AMGAN_ON_CUDA(return next_of_cuda(tensor));
  return next_of_cpu();
}

}  // namespace amgan::ops
