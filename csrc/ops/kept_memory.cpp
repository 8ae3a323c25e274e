#include "ops/kept_memory.h"

#include <ATen/EmptyTensor.h>
#include <c10/core/CPUAllocator.h>

#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>

namespace amgan::ops {
namespace {

constexpr std::size_t kLeast = 128 * 1024;  // bytes; malloc keeps what is less
constexpr std::size_t kLargest = 8 << 20;   // bytes; a process keeps no more than kMost of these, 48 MiB
constexpr std::size_t kMost = 6;            // kept at a time: two sets of three tensors

struct Block {
  std::size_t bytes;
  c10::DataPtr memory;
};

class KeptMemory final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    if (bytes < kLeast || bytes > kLargest) return c10::GetCPUAllocator()->allocate(bytes);
    auto block = take(bytes);
    if (block == nullptr) block = std::make_unique<Block>(bytes, c10::GetCPUAllocator()->allocate(bytes));
    void* const data = block->memory.get();
    return {data, block.release(), give_back, at::kCPU};
  }

  void copy_data(void* to, const void* from, std::size_t bytes) const override { default_copy_data(to, from, bytes); }

  // For good: tensors may outlive static objects.
  static KeptMemory& instance() {
    static KeptMemory* const kept = new KeptMemory;
    return *kept;
  }

 private:
  std::unique_ptr<Block> take(std::size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto at = blocks_.begin(); at != blocks_.end(); ++at) {
      if ((*at)->bytes != bytes) continue;
      auto block = std::move(*at);
      blocks_.erase(at);
      return block;
    }
    return nullptr;
  }

  // The oldest makes room.
  static void give_back(void* context) {
    std::unique_ptr<Block> block(static_cast<Block*>(context)), oldest;
    KeptMemory& kept = instance();
    const std::lock_guard<std::mutex> lock(kept.mutex_);
    if (kept.blocks_.size() == kMost) {
      oldest = std::move(kept.blocks_.front());
      kept.blocks_.pop_front();
    }
    kept.blocks_.push_back(std::move(block));
  }

  std::mutex mutex_;
  std::deque<std::unique_ptr<Block>> blocks_;
};

}  // namespace

at::Tensor empty_in_kept_memory(at::IntArrayRef size) {
  return at::detail::empty_generic(size, &KeptMemory::instance(), c10::DispatchKeySet(c10::DispatchKey::CPU),
                                   at::kDouble, std::nullopt);
}

}  // namespace amgan::ops
