// The question of the score kernels: float64 sums over the rows of every round-robin block.
#pragma once

#include "args/common.h"

namespace amgan {

struct ScoresArgs {
  Dtype dtype;
  int32_t probabilities;  // the input holds p, not logits
  int32_t in_double;      // CPU: rows are computed in double, whatever the dtype
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
  // CPU: what the sums are added to, in the order of the outputs; null: to 0.
  const double *initial_count, *initial_entropy, *initial_prob, *initial_prob_sq, *initial_log_prob;
};

}  // namespace amgan
