// The question of the batch norm + leaky ReLU + dropout kernels. Elements are in memory as in [rows, channels]; a row
// is a position of an image, or an example.
#pragma once

#include "args/common.h"
#include "args/philox.h"
#include "math/leaky_dropout.h"

namespace amgan {

// Numbers by channel are of the computing type.
struct BatchNormArgs {
  Dtype dtype;
  int64_t rows, channels;
  const void* x;            // [rows, channels]
  const void* grad_output;  // null: forward; or [rows, channels]: the gradient with respect to y
  void* out;                // [rows, channels]: y; or the gradient with respect to x, may be grad_output
  const void* weight;       // [channels]
  const void* bias;         // [channels]
  void* mean;               // [channels]: written by forward, read by backward
  void* variance;           // [channels]: the same; of the batch, by rows, not by rows - 1
  void* grad_weight;        // [channels], backward alone
  void* grad_bias;          // [channels], backward alone
  double epsilon;
  math::LeakyDropout<double> factors;  // dropped = 0: nothing is dropped, and no random bits are taken
  PhiloxArgs philox;                   // as in args/leaky_dropout.h, for the same places in memory
};

}  // namespace amgan
