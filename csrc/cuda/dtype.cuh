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

// kPack elements from the bits of them in memory.
template <typename Scalar>
__device__ __forceinline__ void unpack(uint4 bits, Computing<Scalar> (&v)[kPack<Scalar>]) {
  if constexpr (kPack<Scalar> == 2) {
    v[0] = __hiloint2double(static_cast<int>(bits.y), static_cast<int>(bits.x));
    v[1] = __hiloint2double(static_cast<int>(bits.w), static_cast<int>(bits.z));
  } else if constexpr (kPack<Scalar> == 4) {
    v[0] = __uint_as_float(bits.x);
    v[1] = __uint_as_float(bits.y);
    v[2] = __uint_as_float(bits.z);
    v[3] = __uint_as_float(bits.w);
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

// The same of numbers that are all -inf.
template <typename Scalar>
__device__ __forceinline__ uint4 minus_infinities() {
  if constexpr (kPack<Scalar> == 2) {
    return {0, 0xfff00000u, 0, 0xfff00000u};
  } else if constexpr (kPack<Scalar> == 4) {
    const uint32_t bits = __float_as_uint(-INFINITY);
    return {bits, bits, bits, bits};
  } else {
    const uint32_t bits = to_bits(-INFINITY, -INFINITY, Scalar());
    return {bits, bits, bits, bits};
  }
}

// kPack elements at an address that is a multiple of 16.
template <typename Scalar>
__device__ __forceinline__ uint4 load_bits(const Scalar* p) {
  return *reinterpret_cast<const uint4*>(p);
}
template <typename Scalar>
__device__ __forceinline__ void load_pack(const Scalar* p, Computing<Scalar> (&v)[kPack<Scalar>]) {
  unpack<Scalar>(load_bits(p), v);
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

constexpr float kLog2E = 1.44269502f, kLog2 = 0.693147182f, kLog2Rest = -1.90465421e-9f;

// 2^y, by one instruction of the special function unit.
__device__ __forceinline__ float exp2_approximately(float y) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(y));
  return power;
}

// exp of a number that is at most 0; NaN stays, and below 2^-126 it is 0. Rounding the product y = x log2(e), and the
// constant in it, would make an error that grows with x, to 3.7e-6 at x = -86, and a bias in every mean over many rows.
// What is missing, r = x - y log(2), is known to the last digit from two fused steps and is made up for: exp(x) =
// 2^y exp(r), with exp(r) = 1 + r. What remains is the error of 2^y, within 2^-22 on a GPU, and one rounding.
__device__ __forceinline__ float exp_nonpositive(float x) {
  const float y = x * kLog2E;
  const float power = exp2_approximately(y);
  const float r = fmaxf(fmaf(y, -kLog2Rest, fmaf(y, -kLog2, x)), -1.0f);  // of x = -inf: not NaN
  return fmaf(power, r, power);
}
__device__ __forceinline__ double exp_nonpositive(double x) {
  return exp(x);
}

// The same for a row of Scalar. Of 16 bits, 2^y alone: what rounding makes of y, 2^-24 of x and of its probability, is
// nothing beside the rounding of the logit itself.
template <typename Scalar>
__device__ __forceinline__ Computing<Scalar> exp_of(Computing<Scalar> x) {
  if constexpr (sizeof(Scalar) == 2) {
    return exp2_approximately(x * kLog2E);
  } else {
    return exp_nonpositive(x);
  }
}

// The same of a number that is finite or NaN.
template <typename Scalar>
__device__ __forceinline__ Computing<Scalar> exp_of_near(Computing<Scalar> x) {
  if constexpr (sizeof(Scalar) == 4) {
    const float y = x * kLog2E, power = exp2_approximately(y);
    return fmaf(power, fmaf(y, -kLog2, x), power);
  } else {
    return exp_of<Scalar>(x);
  }
}

// Of -inf the lowest number, whose exponential is 0, too, but which can be multiplied by it. Also of NaN.
__device__ __forceinline__ float at_least_lowest(float x) {
  return fmaxf(x, -FLT_MAX);
}
__device__ __forceinline__ double at_least_lowest(double x) {
  return fmax(x, -DBL_MAX);
}

// A shifted logit, but none so far below 0 that it could not be multiplied by an exponential: at kFar that is 0
// already. NaN stays.
template <typename T>
constexpr T kFar = sizeof(T) == 8 ? T(-1000) : T(-128);

__device__ __forceinline__ float not_far(float x) {
#if __CUDA_ARCH__ >= 800
  float result;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(x), "f"(kFar<float>));
  return result;
#else
  return x < kFar<float> ? kFar<float> : x;
#endif
}
__device__ __forceinline__ double not_far(double x) {
  return x < kFar<double> ? kFar<double> : x;
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
