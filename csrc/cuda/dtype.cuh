// The four dtypes of logits: how they are read into and written from the computing type, and the switch over them.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "args/common.h"

namespace amgan::cuda {

template <typename Scalar>
struct ComputingType {
  using type = float;
};
template <>
struct ComputingType<double> {
  using type = double;
};
template <typename Scalar>
using Computing = typename ComputingType<Scalar>::type;

__device__ __forceinline__ float load(const float* p) {
  return *p;
}
__device__ __forceinline__ double load(const double* p) {
  return *p;
}
__device__ __forceinline__ float load(const __nv_bfloat16* p) {
  return __bfloat162float(*p);
}
__device__ __forceinline__ float load(const __half* p) {
  return __half2float(*p);
}

__device__ __forceinline__ void store(float* p, float value) {
  *p = value;
}
__device__ __forceinline__ void store(double* p, double value) {
  *p = value;
}
__device__ __forceinline__ void store(__nv_bfloat16* p, float value) {
  *p = __float2bfloat16_rn(value);
}
__device__ __forceinline__ void store(__half* p, float value) {
  *p = __float2half_rn(value);
}

template <typename Scalar>
struct Tag {
  using type = Scalar;
};

// Calls function(Tag<Scalar>) for the C++ type of dtype.
template <typename Function>
cudaError_t dispatch(Dtype dtype, Function function) {
  switch (dtype) {
    case Dtype::float32:
      return function(Tag<float>{});
    case Dtype::float64:
      return function(Tag<double>{});
    case Dtype::bfloat16:
      return function(Tag<__nv_bfloat16>{});
    case Dtype::float16:
      return function(Tag<__half>{});
  }
  return cudaErrorInvalidValue;
}

}  // namespace amgan::cuda
