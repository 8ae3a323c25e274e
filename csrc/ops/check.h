// Checks that every operation makes before it writes anything. Each error names the operation and the argument,
// what was found and what is wanted. Sizes are symbolic, so that the same checks serve tracing: what must hold of a
// size that is not known then is asserted when the traced program runs.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymBool.h>
#include <c10/util/Exception.h>

#include <string_view>

#include "ops/tensors.h"

// TORCH_CHECK_VALUE of a SymBool.
#define AMGAN_CHECK_SIZE(condition, ...) TORCH_CHECK_VALUE((condition).expect_true(__FILE__, __LINE__), __VA_ARGS__)

namespace amgan::ops {

Reduction parse_reduction(const char* op, std::string_view reduction);

// True for "column", false for "zero".
bool parse_fake(const char* op, std::string_view fake);

// A probability mass, 0 <= value <= 1.
void check_fraction(const char* op, const char* name, double value);

// Whether the memory of a tensor on the CPU holds its values as they are. It does not for wrappers (of tracing, of
// torch.func) nor for views with a negative bit or zero tensors, which torch makes plain before it calls a kernel.
bool is_plain(const at::Tensor& tensor);

// The two checks of values below, for values within torch.func, which hands them down to where they are: wrapped.cpp.
void check_wrapped_labels(const at::Tensor& labels, std::string_view op, std::string_view name, int64_t min_label,
                          int64_t max_label);
void check_wrapped_weight(const at::Tensor& weight, std::string_view op, std::string_view name);

// Whether a tensor has this one dimension.
c10::SymBool has_length(const at::Tensor& tensor, const c10::SymInt& length);

// float32, float64, bfloat16 or float16, on CPU or CUDA.
void check_floating(const char* op, const char* name, const at::Tensor& tensor);

// Floating point, [rows, columns] with at least `min_columns` columns.
void check_logits(const char* op, const char* name, const at::Tensor& logits, int64_t min_columns);

void check_like(const char* op, const char* name, const at::Tensor& tensor, const char* other_name,
                const at::Tensor& other);

// The dtype, shape and device of another tensor.
void check_same(const char* op, const char* name, const at::Tensor& tensor, const char* other_name,
                const at::Tensor& other);

// A factor of negative numbers that leaves their sign.
void check_slope(const char* op, double slope);

// Seed and offset of a generator, int64 [2], on the device of `tensor`.
void check_rng_state(const char* op, const at::Tensor& rng_state, const at::Tensor& tensor);

// int64 or int32, [rows], on the device of the logits.
void check_labels(const char* op, const char* name, const at::Tensor& labels, const at::Tensor& logits);

// min_label <= label <= max_label for labels on the CPU, those that torch.func has wrapped too. On CUDA the kernel
// asserts it, without synchronisation.
void check_label_range(const char* op, const char* name, const at::Tensor& labels, int64_t min_label,
                       const c10::SymInt& max_label);

// Floating point, [count], on the device of the logits; one per `what`.
void check_weight(const char* op, const char* name, const at::Tensor& weight, const c10::SymInt& count,
                  const char* what, const at::Tensor& logits);

// Finite numbers of at least 0, likewise.
void check_weight_range(const char* op, const char* name, const at::Tensor& weight);

// The gradient of a loss: a scalar, or [rows] without reduction; returned in the dtype of the loss.
at::Tensor check_grad_output(const char* op, const at::Tensor& grad_output, Reduction reduction,
                             const c10::SymInt& rows, const at::Tensor& logits);

// The result of `run`, an operation that looks at the values of labels and weights itself. Only where it finds one out
// of range are they looked at here too, in the name of the operation that the user called.
template <typename Run, typename CheckValues>
auto named_by_caller(const Run& run, const CheckValues& check_values) {
  try {
    return run();
  } catch (const c10::IndexError&) {
    check_values();
    throw;
  } catch (const c10::ValueError&) {
    check_values();
    throw;
  }
}

}  // namespace amgan::ops
