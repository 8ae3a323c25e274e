// What lets one header serve host and device, and host code compiled for several instruction sets.
#pragma once

#include <cmath>
#include <cstdint>

#if defined(__CUDACC__)
#define AMGAN_INLINE __host__ __device__ __forceinline__
#else
#define AMGAN_INLINE inline
#endif

// Each CPU build compiles these headers with its own instruction set. An inline namespace of its own keeps the linker
// from merging, say, the AVX-512 copy of a function into the default build.
#if defined(CPU_CAPABILITY)
#define AMGAN_MATH_BEGIN  \
  namespace amgan::math { \
  inline namespace CPU_CAPABILITY {
#else
#define AMGAN_MATH_BEGIN  \
  namespace amgan::math { \
  inline namespace portable {
#endif
#define AMGAN_MATH_END \
  }                    \
  }
