// The question of the leaky ReLU + dropout kernels, the same forward and backward: values times the factors of
// math/leaky_dropout.h where they are kept, 0 elsewhere.
//
// Element i is decided by the 16 bits number i mod 8, counted from the lowest of the first word, of the Philox block
// with counter (offset / 4, i / 8), each 64 bits, the low ones first. That is how torch's kernels on CUDA count, a
// thread taking the place of i / 8: with a generator that moves on by 4 no two calls share a bit.
#pragma once

#include "args/common.h"
#include "args/philox.h"
#include "math/leaky_dropout.h"

namespace amgan {

struct LeakyDropoutArgs {
  Dtype dtype;
  const void* values;  // [size]: x; or the gradient with respect to y
  const void* signs;   // null; or [size]: y
  void* out;           // [size]; may be values
  int64_t size;
  math::LeakyDropout<double> factors;
  PhiloxArgs philox;
};

}  // namespace amgan
