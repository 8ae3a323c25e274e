// The question of the class-entropy kernels: per row the entropy of the softmax, and its gradient.
#pragma once

#include "args/common.h"

namespace amgan {

// "T" is the computing type.
struct EntropyArgs {
  Dtype dtype;
  const void* logits;  // [rows, classes], unit column stride
  int64_t rows;
  int64_t classes;     // K >= 1
  int64_t row_stride;  // elements; any value
  double scale;        // this and what follows, as in KPlus1Batch
  const void* grad_output;
  int64_t grad_output_stride;
  const void* row_weight;
  int64_t row_weight_stride;
  void* entropy;      // [rows] T, unscaled; or null
  void* grad;         // [rows, classes] in the dtype of the logits, contiguous; or null
  void* total;        // [1] T: sum over rows of scale * entropy; or null
  double* workspace;  // CUDA with total: workspace_size(args) doubles; CPU: unused
  int32_t ticket;     // CUDA with a workspace: which counter the launch uses (args/common.h)
};

}  // namespace amgan
