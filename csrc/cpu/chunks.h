// How work is cut, and the memory it is done in.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace amgan::cpu {
namespace {

// Fewer elements than this take less time than waking a thread.
constexpr int64_t kElementsPerThread = 32768;

// Rows are summed in chunks whose bounds depend on the shape alone: any number of threads gives the same bits.
struct Chunks {
  int64_t rows;   // per chunk
  int64_t grain;  // chunks that are worth a thread of their own

  explicit Chunks(int64_t columns)
      : rows(std::clamp<int64_t>(16384 / columns / 16 * 16, 4, 256)),
        grain(std::max<int64_t>(kElementsPerThread / (rows * columns), 1)) {}

  int64_t count(int64_t total_rows) const { return (total_rows + rows - 1) / rows; }
};

// A sum for every chunk. A small call allocates nothing.
class ChunkSums {
 public:
  explicit ChunkSums(int64_t chunks)
      : many_(chunks > kFew ? std::make_unique<double[]>(chunks) : nullptr), sums_(many_ ? many_.get() : few_) {}

  double& operator[](int64_t chunk) { return sums_[chunk]; }

  double total(int64_t begin, int64_t end) const {
    double total = 0;
    for (int64_t chunk = begin; chunk < end; ++chunk) total += sums_[chunk];
    return total;
  }

 private:
  static constexpr int64_t kFew = 32;
  double few_[kFew] = {};
  std::unique_ptr<double[]> many_;
  double* const sums_;
};

// One allocation for all threads of a call, each with a part of its own that starts on a cache line.
template <typename T>
class Workspace {
 public:
  explicit Workspace(int64_t size)
      : stride_((size * sizeof(T) + kLine - 1) / kLine * kLine / sizeof(T)),
        memory_(allocate(stride_ * sizeof(T) * at::get_num_threads())) {}

  // Inside at::parallel_for.
  T* of_this_thread() const { return of_thread(at::get_thread_num()); }
  T* of_thread(int64_t number) const { return memory_.get() + number * stride_; }

 private:
  static constexpr int64_t kLine = 64;
  static constexpr std::align_val_t kAlignment{kLine};
  struct Delete {
    void operator()(T* memory) const { operator delete(memory, kAlignment); }
  };

  static T* allocate(std::size_t bytes) {
    return bytes == 0 ? nullptr : static_cast<T*>(operator new(bytes, kAlignment));
  }

  int64_t stride_;
  std::unique_ptr<T, Delete> memory_;
};

}  // namespace
}  // namespace amgan::cpu
