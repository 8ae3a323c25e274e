#include "ops/check.h"

#include <ATen/Dispatch.h>
#include <c10/core/DispatchKeySet.h>

#include <cmath>

namespace amgan::ops {

Reduction parse_reduction(const char* op, std::string_view reduction) {
  if (reduction == "mean") return Reduction::mean;
  if (reduction == "sum") return Reduction::sum;
  TORCH_CHECK_VALUE(reduction == "none", op, ": reduction is '", reduction, "', wanted 'none', 'mean' or 'sum'");
  return Reduction::none;
}

bool parse_fake(const char* op, std::string_view fake) {
  if (fake == "column") return true;
  TORCH_CHECK_VALUE(fake == "zero", op, ": fake is '", fake, "', wanted 'column' or 'zero'");
  return false;
}

void check_fraction(const char* op, const char* name, double value) {
  TORCH_CHECK_VALUE(value >= 0 && value <= 1, op, ": ", name, " is ", value, ", wanted a number from 0 to 1");
}

bool is_plain(const at::Tensor& tensor) {
  // What would be called next of an operation on it, derivatives and autocast aside: the kernel of the CPU itself.
  const auto passed = c10::autograd_dispatch_keyset_with_ADInplaceOrView | c10::autocast_dispatch_keyset;
  return (tensor.key_set() - passed).highestPriorityTypeId() == c10::DispatchKey::CPU;
}

namespace {

// Whether a tensor is one call's part of what torch.func does at once: then it has the values, below its wrappers.
bool is_wrapped(const at::Tensor& tensor) {
  return tensor.key_set().has_any(
      c10::DispatchKeySet({c10::DispatchKey::FuncTorchBatched, c10::DispatchKey::FuncTorchGradWrapper}));
}

// The place of the i-th value of a tensor of any strides, in the order of its dimensions.
int64_t place_of(const at::Tensor& tensor, int64_t i) {
  if (tensor.dim() == 1) return i * tensor.stride(0);
  int64_t place = 0;
  for (int64_t d = tensor.dim(); d-- > 0; i /= tensor.size(d)) place += i % tensor.size(d) * tensor.stride(d);
  return place;
}

// How an error names a value: by its row, which within vmap is one of many calls at once.
std::string named_value(const char* name, const at::Tensor& values, int64_t i) {
  return values.dim() == 1 ? c10::str(name, "[", i, "] is ") : c10::str(name, " holds ");
}

}  // namespace

c10::SymBool has_length(const at::Tensor& tensor, const c10::SymInt& length) {
  return tensor.dim() == 1 ? tensor.sym_size(0).sym_eq(length) : c10::SymBool(false);
}

void check_floating(const char* op, const char* name, const at::Tensor& tensor) {
  TORCH_CHECK_VALUE(tensor.device().is_cpu() || tensor.device().is_cuda() || tensor.device().is_meta(), op, ": ", name,
                    " is on ", tensor.device(), ", wanted cpu or cuda");
  const auto dtype = tensor.scalar_type();
  TORCH_CHECK_TYPE(dtype == at::kFloat || dtype == at::kDouble || dtype == at::kBFloat16 || dtype == at::kHalf, op,
                   ": ", name, " has dtype ", dtype, ", wanted float32, float64, bfloat16 or float16");
}

void check_logits(const char* op, const char* name, const at::Tensor& logits, int64_t min_columns) {
  check_floating(op, name, logits);
  TORCH_CHECK_VALUE(logits.dim() == 2, op, ": ", name, " has shape ", logits.sym_sizes(),
                    ", wanted two dimensions, [rows, columns]");
  AMGAN_CHECK_SIZE(logits.sym_size(1).sym_ge(min_columns), op, ": ", name, " has ", logits.sym_size(1),
                   " column(s), wanted at least ", min_columns,
                   min_columns == 2 ? ": one real class and the generated one" : ": one real class");
}

void check_like(const char* op, const char* name, const at::Tensor& tensor, const char* other_name,
                const at::Tensor& other) {
  TORCH_CHECK_TYPE(tensor.scalar_type() == other.scalar_type(), op, ": ", name, " has dtype ", tensor.scalar_type(),
                   " and ", other_name, " ", other.scalar_type(), ", wanted the same");
  TORCH_CHECK_VALUE(tensor.device() == other.device(), op, ": ", name, " is on ", tensor.device(), " and ", other_name,
                    " on ", other.device(), ", wanted the same device");
  AMGAN_CHECK_SIZE(tensor.sym_size(1).sym_eq(other.sym_size(1)), op, ": ", name, " has ", tensor.sym_size(1),
                   " columns and ", other_name, " ", other.sym_size(1), ", wanted the same number");
}

namespace {

c10::SymBool same_sizes(c10::SymIntArrayRef sizes, c10::SymIntArrayRef others) {
  if (sizes.size() != others.size()) return false;
  c10::SymBool same = true;
  for (size_t d = 0; d < sizes.size(); ++d) same = same.sym_and(sizes[d].sym_eq(others[d]));
  return same;
}

}  // namespace

void check_same(const char* op, const char* name, const at::Tensor& tensor, const char* other_name,
                const at::Tensor& other) {
  TORCH_CHECK_TYPE(tensor.scalar_type() == other.scalar_type(), op, ": ", name, " has dtype ", tensor.scalar_type(),
                   " and ", other_name, " ", other.scalar_type(), ", wanted the same");
  AMGAN_CHECK_SIZE(same_sizes(tensor.sym_sizes(), other.sym_sizes()), op, ": ", name, " has shape ", tensor.sym_sizes(),
                   " and ", other_name, " ", other.sym_sizes(), ", wanted the same");
  TORCH_CHECK_VALUE(tensor.device() == other.device(), op, ": ", name, " is on ", tensor.device(), " and ", other_name,
                    " on ", other.device(), ", wanted the same device");
}

void check_slope(const char* op, double slope) {
  TORCH_CHECK_VALUE(slope >= 0 && std::isfinite(slope), op, ": slope is ", slope,
                    ", wanted a finite number that is at least 0");
}

void check_rng_state(const char* op, const at::Tensor& rng_state, const at::Tensor& tensor) {
  TORCH_CHECK_TYPE(rng_state.scalar_type() == at::kLong, op, ": rng_state has dtype ", rng_state.scalar_type(),
                   ", wanted int64");
  AMGAN_CHECK_SIZE(has_length(rng_state, 2), op, ": rng_state has shape ", rng_state.sym_sizes(), ", wanted [2]");
  TORCH_CHECK_VALUE(rng_state.device() == tensor.device(), op, ": rng_state is on ", rng_state.device(), ", wanted ",
                    tensor.device());
}

void check_label_range(const char* op, const char* name, const at::Tensor& labels, int64_t min_label,
                       const c10::SymInt& largest) {
  if (!largest.maybe_as_int()) return;
  const int64_t max_label = largest.expect_int();
  if (is_wrapped(labels)) return check_wrapped_labels(labels, op, name, min_label, max_label);
  if (!is_plain(labels)) return;  // where there are values, the operation below looks at them
  const auto check = [&](const auto* values) {
    const int64_t count = labels.numel();
    uint64_t signs = 0;  // the top bit is set once label - min_label or max_label - label has been negative
    const auto take = [&](int64_t label) {
      const auto bits = static_cast<uint64_t>(label);
      signs |= (bits - static_cast<uint64_t>(min_label)) | (static_cast<uint64_t>(max_label) - bits);
    };
    if (labels.is_contiguous()) {  // several at once
      for (int64_t i = 0; i < count; ++i) take(values[i]);
    } else {
      for (int64_t i = 0; i < count; ++i) take(values[place_of(labels, i)]);
    }
    for (int64_t i = 0; signs >> 63 != 0 && i < count; ++i) {
      const int64_t label = values[place_of(labels, i)];
      TORCH_CHECK_INDEX(label >= min_label && label <= max_label, op, ": ", named_value(name, labels, i), label,
                        ", wanted ", min_label, " <= label <= ", max_label);
    }
  };
  if (labels.scalar_type() == at::kInt) {
    check(labels.const_data_ptr<int32_t>());
  } else {
    check(labels.const_data_ptr<int64_t>());
  }
}

void check_labels(const char* op, const char* name, const at::Tensor& labels, const at::Tensor& logits) {
  const auto dtype = labels.scalar_type();
  TORCH_CHECK_TYPE(dtype == at::kLong || dtype == at::kInt, op, ": ", name, " has dtype ", dtype,
                   ", wanted int64 or int32");
  AMGAN_CHECK_SIZE(has_length(labels, logits.sym_size(0)), op, ": ", name, " has shape ", labels.sym_sizes(),
                   ", wanted [", logits.sym_size(0), "], one label per row of logits");
  TORCH_CHECK_VALUE(labels.device() == logits.device(), op, ": ", name, " is on ", labels.device(),
                    " and the logits on ", logits.device(), ", wanted the same device");
}

void check_weight(const char* op, const char* name, const at::Tensor& weight, const c10::SymInt& count,
                  const char* what, const at::Tensor& logits) {
  TORCH_CHECK_TYPE(at::isFloatingType(weight.scalar_type()), op, ": ", name, " has dtype ", weight.scalar_type(),
                   ", wanted floating point");
  AMGAN_CHECK_SIZE(has_length(weight, count), op, ": ", name, " has shape ", weight.sym_sizes(), ", wanted [", count,
                   "], one number per ", what);
  TORCH_CHECK_VALUE(weight.device() == logits.device(), op, ": ", name, " is on ", weight.device(),
                    " and the logits on ", logits.device(), ", wanted the same device");
}

void check_weight_range(const char* op, const char* name, const at::Tensor& weight) {
  if (is_wrapped(weight)) return check_wrapped_weight(weight, op, name);
  if (!is_plain(weight)) return;  // where there are values, the operation below looks at them
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, weight.scalar_type(), "check_weight_range", [&] {
    const auto* values = weight.const_data_ptr<scalar_t>();
    const int64_t count = weight.numel();
    for (int64_t i = 0; i < count; ++i) {
      const auto value = static_cast<double>(values[place_of(weight, i)]);
      TORCH_CHECK_VALUE(value >= 0 && std::isfinite(value), op, ": ", named_value(name, weight, i), value,
                        ", wanted a finite number that is at least 0");
    }
  });
}

at::Tensor check_grad_output(const char* op, const at::Tensor& grad_output, Reduction reduction,
                             const c10::SymInt& rows, const at::Tensor& logits) {
  if (reduction == Reduction::none) {
    AMGAN_CHECK_SIZE(has_length(grad_output, rows), op, ": grad_output has shape ", grad_output.sym_sizes(),
                     ", wanted [", rows, "]");
  } else {
    TORCH_CHECK_VALUE(grad_output.dim() == 0, op, ": grad_output has shape ", grad_output.sym_sizes(),
                      ", wanted a scalar");
  }
  TORCH_CHECK_VALUE(grad_output.device() == logits.device(), op, ": grad_output is on ", grad_output.device(),
                    ", the logits on ", logits.device(), ", wanted the same device");
  return grad_output.to(loss_dtype(logits));
}

}  // namespace amgan::ops
