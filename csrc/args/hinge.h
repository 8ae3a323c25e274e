// The question of the multi-hinge kernels: per row the loss and its gradient.
#pragma once

#include "args/common.h"
#include "args/kplus1.h"

namespace amgan {

struct HingeArgs {
  Dtype dtype;
  int64_t classes;      // K >= 1; columns = K + fake_column
  int32_t fake_column;  // else the generated class has the logit 0
  double margin;        // finite, >= 0
  KPlus1Batch batch;    // but for its coefficients
  void* total;          // [1] T: sum over all rows of scale * loss; or null
  double* workspace;    // CUDA with total: workspace_size(args) doubles; CPU: unused
  int32_t ticket;       // CUDA with a workspace: which counter the launch uses (args/common.h)
};

}  // namespace amgan
