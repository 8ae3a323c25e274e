// What class_entropy takes. Python's signature and its meaning: amgan_fast/ops/entropy.py.
#pragma once

#include <string_view>
#include <tuple>

#include "ops/tensors.h"

namespace amgan::ops {

// logits, reduction, row_weight
using EntropyArguments = std::tuple<const at::Tensor&, std::string_view, OptionalTensor>;

// All that an operation checks of them,
Reduction check(const char* op, const EntropyArguments& arguments);

// But for the values of row weights.
void check_values(const char* op, const EntropyArguments& arguments);

}  // namespace amgan::ops
