// What kplus1_hinge_loss takes. Python's signature and its meaning: amgan_fast/ops/hinge.py.
#pragma once

#include <string_view>
#include <tuple>

#include "ops/kplus1.h"
#include "ops/tensors.h"

namespace amgan::ops {

// logits, labels, margin, fake, reduction, row_weight
using HingeArguments =
    std::tuple<const at::Tensor&, OptionalTensor, double, std::string_view, std::string_view, OptionalTensor>;

// A call of the K+1 family without a loss: its logits, its labels (0..K) and how they are checked.
KPlus1Call call_of(const char* op, const HingeArguments& arguments);

}  // namespace amgan::ops
