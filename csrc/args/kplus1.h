// The one question the K+1-class kernels answer, for CPU and CUDA: per row the loss, its gradient, its terms.
#pragma once

#include "args/common.h"
#include "math/kplus1.h"

namespace amgan {

// Rows with one set of coefficients. "T" is the computing type.
struct KPlus1Batch {
  const void* logits;  // [rows, columns], unit column stride
  int64_t rows;
  int64_t row_stride;  // elements; any value
  const void* labels;  // [rows] int64 or int32 in min_label..max_label; null: dynamic, argmax over the real classes
  int64_t label_stride;
  int32_t labels_are_int32;
  int32_t min_label;  // 0, or -1 where a row may have no label
  int32_t max_label;  // classes - 1, or classes where the generated class may be named
  math::Coefficients<double> coefficients;
  double scale;             // of each row's loss in the total, and of its gradient (1, or 1/rows for a mean)
  const void* grad_output;  // T, per row at grad_output_stride (0: one scalar); null: 1
  int64_t grad_output_stride;
  const void* row_weight;  // T, per row at row_weight_stride, at least 0: multiplies its loss and gradient; null: 1
  int64_t row_weight_stride;
  void* loss;  // [rows] T, unscaled loss of each row; or null
  void* grad;  // [rows, columns] in the dtype of the logits, contiguous; or null

  // The given label of a row, where labels are memory of the host.
  int64_t label(int64_t row) const {
    const int64_t at = row * label_stride;
    return labels_are_int32 ? static_cast<const int32_t*>(labels)[at] : static_cast<const int64_t*>(labels)[at];
  }
};

struct KPlus1Args {
  Dtype dtype;
  int32_t batches;  // 1 or 2
  int64_t classes;  // K >= 1; columns = K + fake_column
  int32_t fake_column;
  KPlus1Batch batch[2];
  void* total;     // [1] T: sum over all batches and rows of scale * loss; or null
  void* labelgan;  // the three of kplus1_terms, batch 0 only: [rows] T, [rows] T, [rows] int64; all or none null
  void* auxiliary;
  int64_t* labels_out;
  double* workspace;  // CUDA with total: workspace_size(args) doubles; CPU: unused
  int32_t ticket;     // CUDA with a workspace: which counter the launch uses (args/common.h)
};

}  // namespace amgan
