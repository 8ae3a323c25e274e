// As much of the CUDA runtime as csrc/ops/tickets.h calls, without CUDA: streams that capture or not, graphs that hold
// objects. Strict where the runtime is: what it calls while it destroys an object must not call it.
#pragma once

#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#define CUDART_CB

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorStreamCaptureInvalidated = 901 };
enum cudaStreamCaptureStatus {
  cudaStreamCaptureStatusNone,
  cudaStreamCaptureStatusActive,
  cudaStreamCaptureStatusInvalidated
};
constexpr unsigned cudaUserObjectNoDestructorSync = 1, cudaGraphUserObjectMove = 1;

using cudaHostFn_t = void (*)(void*);
using cudaStream_t = struct Stream*;
struct UserObject {
  void* pointer;
  cudaHostFn_t destroy;
};
using cudaUserObject_t = UserObject*;
struct Graph {
  std::vector<cudaUserObject_t> held;
};
using cudaGraph_t = Graph*;
struct cudaGraphNode;

namespace fake {

inline thread_local bool destroying = false;
inline std::mutex mutex;
inline std::map<cudaStream_t, cudaGraph_t> capturing;
inline std::atomic<unsigned long long> streams{100};
inline bool retain_fails = false;

inline void called() {
  if (destroying) std::abort();
}

inline void release(cudaUserObject_t object) {
  destroying = true;
  object->destroy(object->pointer);
  destroying = false;
  delete object;
}

inline void destroy(cudaGraph_t graph) {
  std::thread([=] {
    for (cudaUserObject_t object : graph->held) release(object);
  }).join();
  delete graph;
}

}  // namespace fake

// The handle of a stream of each thread.
inline const cudaStream_t cudaStreamPerThread = reinterpret_cast<cudaStream_t>(2);

inline cudaError_t cudaStreamGetId(cudaStream_t stream, unsigned long long* id) {
  fake::called();
  thread_local const unsigned long long of_this_thread = fake::streams++;
  *id = stream == cudaStreamPerThread ? of_this_thread : reinterpret_cast<unsigned long long>(stream);
  return cudaSuccess;
}

inline cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status,
                                            unsigned long long* = nullptr, cudaGraph_t* graph = nullptr,
                                            const cudaGraphNode** = nullptr, size_t* = nullptr) {
  fake::called();
  const std::lock_guard<std::mutex> lock(fake::mutex);
  const auto found = fake::capturing.find(stream);
  *status = found == fake::capturing.end() ? cudaStreamCaptureStatusNone
            : found->second == nullptr     ? cudaStreamCaptureStatusInvalidated
                                           : cudaStreamCaptureStatusActive;
  if (*status == cudaStreamCaptureStatusActive) *graph = found->second;
  return cudaSuccess;
}

inline cudaError_t cudaUserObjectCreate(cudaUserObject_t* object, void* pointer, cudaHostFn_t destroy, unsigned count,
                                        unsigned flags) {
  fake::called();
  if (count != 1 || flags != cudaUserObjectNoDestructorSync) return cudaErrorInvalidValue;
  *object = new UserObject{pointer, destroy};
  return cudaSuccess;
}

inline cudaError_t cudaUserObjectRelease(cudaUserObject_t object, unsigned) {
  fake::called();
  fake::release(object);
  return cudaSuccess;
}

inline cudaError_t cudaGraphRetainUserObject(cudaGraph_t graph, cudaUserObject_t object, unsigned count,
                                             unsigned flags) {
  fake::called();
  if (fake::retain_fails || count != 1 || flags != cudaGraphUserObjectMove) return cudaErrorInvalidValue;
  graph->held.push_back(object);
  return cudaSuccess;
}
