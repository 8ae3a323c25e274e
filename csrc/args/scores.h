// The question of the score kernels: float64 sums over the rows of every round-robin block.
#pragma once

#include "args/common.h"

namespace amgan {

struct ScoresArgs {
  Dtype dtype;
  int32_t probabilities;  // the input holds p, not logits
  const void* input;      // [rows, classes], unit column stride
  int64_t rows;
  int64_t classes;     // K >= 1
  int64_t row_stride;  // elements; any value
  int64_t blocks;      // B >= 1
  int64_t offset;      // >= 0; row i belongs to block (offset + i) mod B
  double* count;       // [B]
  double* entropy;     // [B]
  double* prob;        // [B, K]
  double* prob_sq;     // [B, K]
  double* log_prob;    // [B, K]
  double* workspace;   // CUDA: workspace_size(args) doubles; CPU: unused
};

}  // namespace amgan
