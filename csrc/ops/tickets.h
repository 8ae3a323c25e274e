// Which counter a CUDA launch uses for its total (cuda/total.cuh). Two launches that may run at the same time need two.
//
// Launches of one stream follow each other, so a stream has one, which stays its own. A stream is told by its id and
// not by its handle: cudaStreamPerThread is one handle for a stream of each thread. A graph may run beside anything, so
// each launch that it holds has a counter until the graph and all that was instantiated from it are gone:
//
//   capture    take a number, and give the graph an object that holds it
//   graph dies                      -> CUDA destroys the object -> the number is free again
//
// No torch header in here: a test compiles it against a runtime of its own.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <mutex>
#include <numeric>
#include <unordered_map>
#include <vector>

#include "args/common.h"

namespace amgan::ops {

class Tickets {
 public:
  static constexpr int kNone = -1;

  // For the next launch on the stream, on whatever device: each has counters of its own. kNone where graphs hold all
  // that there are for them. Returns the first error of the runtime. No synchronisation.
  cudaError_t take(cudaStream_t stream, int* ticket) {
    cudaStreamCaptureStatus status;
    cudaGraph_t graph = nullptr;
    // The arguments behind the graph are not the same in CUDA 12 and 13.
    if (const cudaError_t error = cudaStreamGetCaptureInfo(stream, &status, nullptr, &graph); error != cudaSuccess) {
      return error;
    }
    if (status == cudaStreamCaptureStatusInvalidated) return cudaErrorStreamCaptureInvalidated;
    if (status == cudaStreamCaptureStatusActive) return take_for(graph, ticket);
    unsigned long long id = 0;
    if (const cudaError_t error = cudaStreamGetId(stream, &id); error != cudaSuccess) return error;
    *ticket = of_stream(id);
    return cudaSuccess;
  }

 private:
  // What a graph holds.
  struct Held {
    Tickets* from;
    int ticket;
  };

  // Numbers go to streams in the order in which they come. Threads and their streams come and go: once there are no
  // more, the stream that came first loses its number to the newest, and gets another if it comes again. Its launches
  // are over by then, unless one runs while all other streams come by.
  int of_stream(unsigned long long id) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto [found, is_new] = of_stream_.try_emplace(id, next_);
    const int ticket = found->second;
    if (is_new) {
      if (streams_.size() < kStreamTickets) {
        streams_.push_back(id);
      } else {
        of_stream_.erase(streams_[next_]);
        streams_[next_] = id;
      }
      next_ = (next_ + 1) % kStreamTickets;
    }
    return ticket;
  }

  cudaError_t take_for(cudaGraph_t graph, int* ticket) {
    *ticket = take_free();
    if (*ticket == kNone) return cudaSuccess;
    auto held = std::make_unique<Held>(Held{this, *ticket});
    cudaUserObject_t object;
    cudaError_t error = cudaUserObjectCreate(&object, held.get(), give_back, 1, cudaUserObjectNoDestructorSync);
    if (error != cudaSuccess) {
      give_back(held.release());
      return error;
    }
    held.release();
    error = cudaGraphRetainUserObject(graph, object, 1, cudaGraphUserObjectMove);
    if (error != cudaSuccess) cudaUserObjectRelease(object, 1);  // which gives it back
    return error;
  }

  int take_free() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (free_.empty()) return kNone;
    const int ticket = free_.back();
    free_.pop_back();
    return ticket;
  }

  // Called by a thread of CUDA's, which must not call CUDA.
  static void CUDART_CB give_back(void* object) {
    const std::unique_ptr<Held> held(static_cast<Held*>(object));
    const std::lock_guard<std::mutex> lock(held->from->mutex_);
    held->from->free_.push_back(held->ticket);
  }

  static std::vector<int> all_of_graphs() {
    std::vector<int> tickets(kGraphTickets);
    std::iota(tickets.rbegin(), tickets.rend(), kStreamTickets);
    return tickets;
  }

  std::mutex mutex_;
  std::unordered_map<unsigned long long, int> of_stream_;
  std::vector<unsigned long long> streams_;  // by ticket
  int next_ = 0;                             // for a new stream
  std::vector<int> free_ = all_of_graphs();
};

}  // namespace amgan::ops
