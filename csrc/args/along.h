// The question of the kernels of second derivatives: the same as that of a loss, about its derivative along v instead,
// v being a number for every logit. Where the arguments have a loss (entropy), it is that of <gradient, v>, and where
// they have its gradient, it is that of H v, the second derivative times v. Of K+1 losses, batch 0 alone; no terms.
#pragma once

#include "args/entropy.h"
#include "args/kplus1.h"

namespace amgan {

template <typename LossArgs>
struct Along {
  LossArgs of;
  const void* v;       // as the logits, [rows, columns] with unit column stride
  int64_t row_stride;  // of v; elements, any value
};

}  // namespace amgan
