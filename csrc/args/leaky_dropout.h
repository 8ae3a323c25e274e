// The question of the leaky ReLU + dropout kernels, the same forward and backward: values times the factors of
// math/leaky_dropout.h where they are kept, 0 elsewhere.
//
// 32 Philox blocks decide over a region of 256 elements, each over 4 in either half of it, 16 bits an element from the
// lowest on: so 32 threads, or the lanes of a vector, have neighbours in both halves.
//
//   block   0       1       2            31      0       1
//   element 0 1 2 3|4 5 6 7|8 9 10 11|...|.. 127|128 ...|132 ...|...     words 0 and 1 | words 2 and 3 of each block
//
// Block b has the counter (offset / 4, b), each 64 bits, the low ones first. That is how torch's kernels on CUDA count,
// a thread taking the place of b: with a generator that moves on by 4 no two calls share a bit.
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
