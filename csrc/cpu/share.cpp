#include "cpu/share.h"

#include <ATen/Parallel.h>
#include <c10/core/thread_pool.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <mutex>

namespace amgan::cpu {
namespace {

// Outlives the call: a thread that comes late finds no item left, and looks at nothing else.
struct Work {
  const int64_t items;
  const void* const context;
  void (*const run)(const void* context, int64_t item, int64_t worker);
  std::atomic<int64_t> next{0}, done{0}, workers{0};

  void take_part() {
    const int64_t worker = workers.fetch_add(1, std::memory_order_relaxed);
    for (;;) {
      const int64_t item = next.fetch_add(1, std::memory_order_relaxed);
      if (item >= items) return;
      run(context, item, worker);
      if (done.fetch_add(1, std::memory_order_acq_rel) + 1 == items) done.notify_all();
    }
  }

  // Until the items that others have begun are done: mostly a moment.
  void wait() const {
    constexpr int kLooks = 1000;
    for (int look = 0; look < kLooks; ++look) {
      if (done.load(std::memory_order_acquire) == items) return;
    }
    for (int64_t seen = done.load(std::memory_order_acquire); seen != items;
         seen = done.load(std::memory_order_acquire))
      done.wait(seen, std::memory_order_acquire);
  }
};

// The threads that help. A process that was forked has none of its parent's and gets its own. For good: tasks may still
// wait when static objects die, and a pool that was too small when more were wanted, once for each larger number, waits
// for nothing.
c10::TaskThreadPool* helpers(int64_t wanted) {
  static std::mutex mutex;
  static c10::TaskThreadPool* pool = nullptr;
  static pid_t owner = 0;
  const std::lock_guard<std::mutex> lock(mutex);
  if (pool == nullptr || owner != getpid() || static_cast<int64_t>(pool->size()) < wanted) {
    pool = new c10::TaskThreadPool(static_cast<int>(wanted));
    owner = getpid();
  }
  return pool;
}

// Where the system has no more threads, or memory for what they are asked, fewer help: what was begun must not be left
// while they may still look at it.
void ask_for_help(const std::shared_ptr<Work>& work, int64_t others) noexcept {
  try {
    c10::TaskThreadPool* const pool = helpers(others);
    for (int64_t i = 0; i < others; ++i) pool->run([work] { work->take_part(); });
  } catch (const std::exception&) {
  }
}

}  // namespace

void share_items(int64_t items, const void* context, void (*run)(const void* context, int64_t item, int64_t worker)) {
  const int64_t others = at::in_parallel_region() ? 0 : std::min<int64_t>(at::get_num_threads(), items) - 1;
  if (others <= 0) {
    for (int64_t item = 0; item < items; ++item) run(context, item, 0);
    return;
  }
  const auto work = std::make_shared<Work>(items, context, run);
  ask_for_help(work, others);
  work->take_part();
  work->wait();
}

}  // namespace amgan::cpu
