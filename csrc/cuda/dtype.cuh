// The four dtypes of logits: how they are read into and written from the computing type, 16 bytes at a time where their
// address allows it; the exponential; and the switch over dtypes.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cfloat>
#include <cmath>
#include <cstdint>

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

// Elements of 16 bytes, the widest access there is.
template <typename Scalar>
constexpr int kPack = 16 / static_cast<int>(sizeof(Scalar));

__device__ __forceinline__ void unpack(uint4 bits, float (&v)[4]) {
  v[0] = __uint_as_float(bits.x);
  v[1] = __uint_as_float(bits.y);
  v[2] = __uint_as_float(bits.z);
  v[3] = __uint_as_float(bits.w);
}
__device__ __forceinline__ void unpack(uint4 bits, double (&v)[2]) {
  v[0] = __hiloint2double(static_cast<int>(bits.y), static_cast<int>(bits.x));
  v[1] = __hiloint2double(static_cast<int>(bits.w), static_cast<int>(bits.z));
}

// bfloat16 is the upper half of a float.
__device__ __forceinline__ float2 to_floats(uint32_t bits, __nv_bfloat16) {
  return {__uint_as_float(bits << 16), __uint_as_float(bits & 0xffff0000u)};
}
__device__ __forceinline__ float2 to_floats(uint32_t bits, __half) {
  __half2 pair;
  memcpy(&pair, &bits, sizeof(pair));
  return __half22float2(pair);
}
__device__ __forceinline__ uint32_t to_bits(float low, float high, __nv_bfloat16) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  uint32_t bits;
  memcpy(&bits, &pair, sizeof(bits));
  return bits;
}
__device__ __forceinline__ uint32_t to_bits(float low, float high, __half) {
  const __half2 pair = __floats2half2_rn(low, high);
  uint32_t bits;
  memcpy(&bits, &pair, sizeof(bits));
  return bits;
}

// kPack elements at an address that is a multiple of 16.
template <typename Scalar>
__device__ __forceinline__ void load_pack(const Scalar* p, Computing<Scalar> (&v)[kPack<Scalar>]) {
  const uint4 bits = *reinterpret_cast<const uint4*>(p);
  if constexpr (kPack<Scalar> < 8) {
    unpack(bits, v);
  } else {
    const uint32_t pairs[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 pair = to_floats(pairs[i], Scalar());
      v[2 * i] = pair.x;
      v[2 * i + 1] = pair.y;
    }
  }
}

// __stwb is an ordinary store that the compiler does not take apart where another branch stores element by element.
template <typename Scalar>
__device__ __forceinline__ void store_pack(Scalar* p, const Computing<Scalar> (&v)[kPack<Scalar>]) {
  if constexpr (kPack<Scalar> == 4) {
    __stwb(reinterpret_cast<float4*>(p), float4{v[0], v[1], v[2], v[3]});
  } else if constexpr (kPack<Scalar> == 2) {
    __stwb(reinterpret_cast<double2*>(p), double2{v[0], v[1]});
  } else {
    __stwb(reinterpret_cast<uint4*>(p), uint4{to_bits(v[0], v[1], Scalar()), to_bits(v[2], v[3], Scalar()),
                                              to_bits(v[4], v[5], Scalar()), to_bits(v[6], v[7], Scalar())});
  }
}

// Elements from p to the next multiple of 16 bytes.
template <typename Scalar>
__device__ __forceinline__ int until_aligned(const Scalar* p) {
  return static_cast<int>(-reinterpret_cast<uintptr_t>(p) % 16 / sizeof(Scalar));
}

// exp of a number that is at most 0; NaN stays, and below 2^-126 it is 0. Rounding the product y = x log2(e), and the
// constant in it, would make an error that grows with x, to 3.7e-6 at x = -86, and a bias in every mean over many rows.
// What is missing, r = x - y log(2), is known to the last digit from two fused steps and is made up for: exp(x) =
// 2^y exp(r), with exp(r) = 1 + r. What remains is the error of 2^y, within 2^-22 on a GPU, and one rounding.
__device__ __forceinline__ float exp_nonpositive(float x) {
  constexpr float kLog2E = 1.44269502f, kLog2 = 0.693147182f, kLog2Rest = -1.90465421e-9f;
  const float y = x * kLog2E;
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(y));
  const float r = fmaxf(fmaf(-y, kLog2Rest, fmaf(-y, kLog2, x)), -1.0f);  // of x = -inf: not NaN
  return fmaf(power, r, power);
}
__device__ __forceinline__ double exp_nonpositive(double x) {
  return exp(x);
}

// Of -inf the lowest number, whose exponential is 0, too, but which can be multiplied by it. Also of NaN.
__device__ __forceinline__ float at_least_lowest(float x) {
  return fmaxf(x, -FLT_MAX);
}
__device__ __forceinline__ double at_least_lowest(double x) {
  return fmax(x, -DBL_MAX);
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
