// A call of an operation of the K+1 family, whichever it is. Python's signatures and their meaning:
// amgan_fast/ops/kplus1.py.
#pragma once

#include <c10/util/SmallVector.h>

#include <string_view>
#include <tuple>

#include "args/kplus1.h"
#include "math/losses.h"
#include "ops/tensors.h"

namespace amgan::ops {

// What kplus1_loss takes, and with it its _and_grad and, after grad_output, its _backward: logits, labels,
// coefficients, fake, reduction, fake_labels (may they name the generated class, K?), label_smoothing (the share of the
// target mass that is spread over all K+1 classes; no coefficient, as those would be numbers of K, which is not known
// while tracing), row_weight, unlabelled (may a label be -1, none?), second_labels, second_coefficient.
using FamilyArguments = std::tuple<const at::Tensor&, OptionalTensor, at::ArrayRef<double>, std::string_view,
                                   std::string_view, bool, double, OptionalTensor, bool, OptionalTensor, double>;

// Those of a loss whose rows have no second label.
inline FamilyArguments with_one_label(const at::Tensor& logits, const OptionalTensor& labels,
                                      at::ArrayRef<double> coefficients, std::string_view fake,
                                      std::string_view reduction, bool fake_labels, double label_smoothing,
                                      const OptionalTensor& row_weight, bool unlabelled) {
  return {logits,          labels,     coefficients, fake,         reduction, fake_labels,
          label_smoothing, row_weight, unlabelled,   std::nullopt, 0};
}

// Likewise of am_discriminator_loss: real_logits, labels, fake_logits, fake, real_smoothing, fake_smoothing,
// class_smoothing, reduction, real_row_weight, fake_row_weight. A label may be -1.
using PairArguments = std::tuple<const at::Tensor&, const at::Tensor&, const at::Tensor&, std::string_view, double,
                                 double, double, std::string_view, OptionalTensor, OptionalTensor>;

// Rows with one set of coefficients, and what the user calls them.
struct KPlus1Rows {
  const char* logits_name;
  const at::Tensor& logits;
  const char* labels_name;
  const at::Tensor* labels;  // null: dynamic
  math::LossCoefficients coefficients;
  const char* weight_name = "row_weight";
  const at::Tensor* weight = nullptr;  // null: 1
  bool fake_labels = false;
  bool unlabelled = false;
  const at::Tensor* second_labels = nullptr;  // null: none
  double second_coefficient = 0;
};

struct KPlus1Call {
  const char* op;  // what errors name
  bool fake_column;
  Reduction reduction;
  double label_smoothing;
  c10::SmallVector<KPlus1Rows, 2> batches;  // no allocation: at 100 x 11 it would show
};

// Names of an operation and of its arguments.
struct KPlus1Names {
  const char* op;
  const char* logits = "logits";
  const char* labels = "labels";
};

// These check what is no tensor, `check` all that is one, and check_values those of labels and row weights: only the
// operation that runs the kernel does, as that takes a pass over them. The arguments must outlive the call.
KPlus1Call call_of(const KPlus1Names& names, const FamilyArguments& arguments);
KPlus1Call call_of(const char* op, const PairArguments& arguments);

void check(const KPlus1Call& call);
void check_values(const KPlus1Call& call);
void check_all(const KPlus1Call& call);

// What a kernel is to know of rows: all but what it is asked for. `logits` with unit column stride; `weight`:
// kernel_weight.
KPlus1Batch kernel_batch(const KPlus1Call& call, const KPlus1Rows& given, const at::Tensor& logits,
                         const at::Tensor& weight);

// The loss in plain ATen.
at::Tensor plain_loss(const KPlus1Call& call);

// A loss of the family by another name, which its errors have.
at::Tensor named_loss(const KPlus1Names& names, const FamilyArguments& arguments);

}  // namespace amgan::ops
