// The one question the K+1-class kernels answer, for CPU and CUDA: per row the loss, its gradient, its terms.
#pragma once

#include "args/common.h"
#include "args/labels.h"
#include "math/kplus1.h"

namespace amgan {

// Rows with one set of coefficients. "T" is the computing type.
struct KPlus1Batch {
  const void* logits;  // [rows, columns], unit column stride
  int64_t rows;
  int64_t row_stride;  // elements; any value
  Labels labels;       // y; none: dynamic, argmax over the real classes
  math::Coefficients<double> coefficients;
  Labels second_labels;       // y2; none: rows have no such term. On the CPU alone (ops/kplus1.cpp)
  double second_coefficient;  // s: - s*l_y2 is added to the loss; its part of z is in the coefficients
  double scale;               // of each row's loss in the total, and of its gradient (1, or 1/rows for a mean)
  const void* grad_output;    // T, per row at grad_output_stride (0: one scalar); null: 1
  int64_t grad_output_stride;
  const void* row_weight;  // T, per row at row_weight_stride, at least 0: multiplies its loss and gradient; null: 1
  int64_t row_weight_stride;
  void* loss;  // [rows] T, unscaled loss of each row; or null
  void* grad;  // [rows, columns] in the dtype of the logits, contiguous; or null
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
