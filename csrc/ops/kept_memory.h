// Tensors on the CPU whose memory is kept when they die, for the next of their size.
//
// Sums of a stream of batches live for one batch each, and have megabytes. malloc gives so much back to the system at
// once, and every page that comes anew costs a fault: for 100 blocks of 1,000 classes that was a fifth of the time of
// an update of 1,000 rows.
#pragma once

#include <ATen/core/Tensor.h>

namespace amgan::ops {

// As at::empty of doubles on the CPU.
at::Tensor empty_in_kept_memory(at::IntArrayRef size);

}  // namespace amgan::ops
