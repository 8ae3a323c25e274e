// What class_entropy takes. Python's signature and its meaning: amgan_fast/ops/entropy.py.
#pragma once

#include <string_view>
#include <tuple>

#include "ops/tensors.h"

namespace amgan::ops {

// logits, reduction
using EntropyArguments = std::tuple<const at::Tensor&, std::string_view>;

// All checks of an operation on them.
Reduction check(const char* op, const EntropyArguments& arguments);

}  // namespace amgan::ops
