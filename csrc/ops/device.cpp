#include "ops/device.h"

#include <ATen/CPUGeneratorImpl.h>

#if AMGAN_WITH_CUDA
#include <ATen/cuda/CUDAGeneratorImpl.h>

#include "ops/tickets.h"
#endif

namespace amgan::ops {

#if AMGAN_WITH_CUDA
int next_ticket(cudaStream_t stream) {
  static Tickets& tickets = *new Tickets;  // for good: graphs may die after static objects
  int ticket = Tickets::kNone;
  C10_CUDA_CHECK(tickets.take(stream, &ticket));
  TORCH_CHECK(ticket != Tickets::kNone, "amgan_fast: ", kGraphTickets,
              " captured totals of losses are held by CUDA graphs, wanted fewer: delete graphs that are not needed");
  return ticket;
}
#endif

namespace {

#if AMGAN_WITH_CUDA
PhiloxArgs next_of_cuda(const at::Tensor& tensor) {
  constexpr uint64_t kWords = 4;  // what the sequence of each counter goes on by
  auto* generator =
      at::check_generator<at::CUDAGeneratorImpl>(at::cuda::detail::getDefaultCUDAGenerator(tensor.device().index()));
  const c10::cuda::CUDAGuard guard(tensor.device());  // whose stream is asked whether it captures
  const std::lock_guard<std::mutex> lock(generator->mutex_);
  const at::PhiloxCudaState state = generator->philox_cuda_state(kWords);
  if (state.captured_) return {0, state.offset_intragraph_, state.seed_.ptr, state.offset_.ptr, nullptr};
  return {state.seed_.val, state.offset_.val, nullptr, nullptr, nullptr};
}
#endif

PhiloxArgs next_of_cpu() {
  auto* generator =
      at::get_generator_or_default<at::CPUGeneratorImpl>(std::nullopt, at::detail::getDefaultCPUGenerator());
  const std::lock_guard<std::mutex> lock(generator->mutex_);
  return {generator->random64(), 0, nullptr, nullptr, nullptr};
}

}  // namespace

PhiloxArgs next_random_bits([[maybe_unused]] const at::Tensor& tensor) {
#if AMGAN_WITH_CUDA
  if (tensor.is_cuda()) return next_of_cuda(tensor);
#endif
  return next_of_cpu();
}

}  // namespace amgan::ops
