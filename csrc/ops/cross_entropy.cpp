// kplus1_cross_entropy: PyTorch's cross-entropy over K+1 classes, with all of its options, by the family's kernel.
//
// Weights of classes and ignored rows are weights of rows there, so that both cost a few operations of N numbers, and
// nothing where there are none. A target of probabilities is no member of the family: it is made of PyTorch's own
// operations.
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <limits>

#include "math/losses.h"
#include "ops/autograd.h"
#include "ops/check.h"
#include "ops/kplus1.h"
#include "ops/plain.h"
#include "ops/register.h"

namespace amgan::ops {
namespace {

constexpr KPlus1Names kNames{"kplus1_cross_entropy", "logits", "target"};

// What every target comes with.
struct Options {
  std::string_view fake;
  double label_smoothing;
  std::string_view reduction;
  const OptionalTensor& row_weight;

  bool fake_column() const { return parse_fake(kNames.op, fake); }
};

FamilyArguments family(const at::Tensor& logits, const OptionalTensor& labels, const math::LossCoefficients& loss,
                       const Options& options) {
  return with_one_label(logits, labels, loss, options.fake, options.reduction, true, options.label_smoothing,
                        options.row_weight, false);
}

// False where it is sure that no label is `ignored`: where that can be seen without waiting for a GPU.
bool may_hold(const at::Tensor& labels, int64_t ignored) {
  if (labels.is_neg()) return may_hold(labels.resolve_neg(), ignored);
  if (!is_plain(labels)) return true;
  const auto holds = [&](const auto* values) {
    const int64_t rows = labels.size(0), stride = labels.stride(0);
    bool found = false;
    for (int64_t i = 0; i < rows; ++i) found |= values[i * stride] == ignored;
    return found;
  };
  return labels.scalar_type() == at::kInt ? holds(labels.const_data_ptr<int32_t>())
                                          : holds(labels.const_data_ptr<int64_t>());
}

// [K+1], one number per class.
void check_class_weight(const at::Tensor& weight, const at::Tensor& logits, bool fake_column) {
  constexpr auto op = kNames.op;
  const c10::SymInt classes = logits.sym_size(1) + static_cast<int64_t>(!fake_column);
  check_weight(op, "weight", weight, classes, "class, the generated one too", logits);
  check_constant(op, "weight", weight);
  check_weight_range(op, "weight", weight);
}

// -sum_c q_c log D_c of each row, q broadcast to [rows, K+1]. What is infinitely unlikely and has no weight counts 0.
at::Tensor soft_rows(const at::Tensor& logits, const at::Tensor& q, bool fake_column) {
  at::Tensor l = logits.to(loss_dtype(logits));
  if (!fake_column) l = at::cat({l, at::zeros_symint({l.sym_size(0), 1}, l.options())}, 1);
  const at::Tensor log_prob = l.log_softmax(1);
  const at::Tensor absent = (q == 0).logical_and(log_prob == -std::numeric_limits<double>::infinity());
  return -(q * log_prob.masked_fill(absent, 0)).sum(1);
}

// --- Labels.

// The mean is over the weights of the rows' classes, 0 for rows that are ignored, as PyTorch has it. Smoothing spreads
// a share of each row over all classes, each with its weight.
at::Tensor weighted(const at::Tensor& logits, const at::Tensor& target, const Options& options,
                    const OptionalTensor& weight, const std::optional<int64_t>& ignore_index) {
  const auto plain = family(logits, target, math::kCrossEntropy, options);
  check(call_of(kNames, plain));
  const bool fake_column = options.fake_column();
  if (weight) check_class_weight(*weight, logits, fake_column);
  at::Tensor labels = target, ignored;
  if (ignore_index) {
    ignored = target.to(at::kLong).eq(*ignore_index);  // int32 may not hold it
    labels = target.masked_fill(ignored, 0);
  }
  const auto numbers = logits.options().dtype(loss_dtype(logits));
  check_values(call_of(kNames, family(logits, labels, math::kCrossEntropy, options)));
  at::Tensor count =
      weight ? weight->to(numbers).index_select(0, labels) : at::ones_symint(labels.sym_sizes(), numbers);
  if (ignore_index) count = count.masked_fill(ignored, 0);
  const OptionalTensor row_weight = options.row_weight ? count * options.row_weight->to(numbers) : count;
  const Reduction reduction = parse_reduction(kNames.op, options.reduction);
  // The kernel's smoothing knows one weight for all classes.
  const double share = weight ? options.label_smoothing : 0;
  const Options by_rows{options.fake, weight ? 0 : options.label_smoothing,
                        reduction == Reduction::none ? "none" : "sum", row_weight};
  // Of two parts the gradient is rounded once, behind their sum.
  const at::Tensor wide = share > 0 ? logits.to(numbers) : logits;
  at::Tensor loss = named_loss(kNames, family(wide, labels, math::kCrossEntropy, by_rows));
  if (share > 0) {
    at::Tensor spread = soft_rows(wide, weight->to(numbers), fake_column) * share / at::Scalar(weight->sym_size(0));
    if (ignore_index) spread = spread.masked_fill(ignored, 0);
    spread = weighted_losses(spread, pointer(options.row_weight));
    loss = (1 - share) * loss + (reduction == Reduction::none ? spread : spread.sum());
  }
  if (reduction != Reduction::mean) return loss;
  const at::Tensor total = count.sum();
  if (!ignore_index) return loss / total;
  // Of no rows the mean is NaN. As in PyTorch, rows that are ignored have a gradient of 0 also then.
  const at::Tensor none = ignored.all();
  return (loss / total.masked_fill(none, 1)).masked_fill(none, std::numeric_limits<double>::quiet_NaN());
}

// --- Probabilities.

at::Tensor of_probabilities(const at::Tensor& logits, const at::Tensor& target, const Options& options,
                            const OptionalTensor& weight) {
  constexpr auto op = kNames.op;
  check(call_of(kNames, family(logits, std::nullopt, math::kCrossEntropy, options)));
  const bool fake_column = options.fake_column();
  const c10::SymInt rows = logits.sym_size(0), classes = logits.sym_size(1) + static_cast<int64_t>(!fake_column);
  const auto fits = target.dim() == 2 ? target.sym_size(0).sym_eq(rows).sym_and(target.sym_size(1).sym_eq(classes))
                                      : c10::SymBool(false);
  AMGAN_CHECK_SIZE(fits, op, ": target has shape ", target.sym_sizes(), ", wanted [", rows, ", ", classes,
                   "], a probability per class, the generated one too, or labels of an integer dtype");
  TORCH_CHECK_VALUE(target.device() == logits.device(), op, ": target is on ", target.device(), " and the logits on ",
                    logits.device(), ", wanted the same device");
  if (weight) check_class_weight(*weight, logits, fake_column);
  if (options.row_weight) {
    check_constant(op, "row_weight", *options.row_weight);
    check_weight_range(op, "row_weight", *options.row_weight);
  }
  at::Tensor q = target.to(loss_dtype(logits));
  if (options.label_smoothing > 0) {
    const at::Tensor share = at::scalar_tensor(options.label_smoothing, q.options());
    q = q * (1 - share) + share / at::Scalar(classes);
  }
  if (weight) q = q * weight->to(q.scalar_type());
  const at::Tensor losses = weighted_losses(soft_rows(logits, q, fake_column), pointer(options.row_weight));
  return reduced(losses, parse_reduction(op, options.reduction));
}

// --- The operation.

at::Tensor kplus1_cross_entropy(const at::Tensor& logits, const at::Tensor& target, std::string_view fake,
                                double label_smoothing, std::string_view reduction, const OptionalTensor& weight,
                                std::optional<int64_t> ignore_index, const OptionalTensor& row_weight) {
  const Options options{fake, label_smoothing, reduction, row_weight};
  if (at::isFloatingType(target.scalar_type())) return of_probabilities(logits, target, options, weight);
  const auto plain = family(logits, target, math::kCrossEntropy, options);
  if (!weight) {
    check(call_of(kNames, plain));
    if (!ignore_index || !may_hold(target, *ignore_index)) return named_loss(kNames, plain);
  }
  return weighted(logits, target, options, weight, ignore_index);
}

at::Tensor kplus1_cross_entropy_mode(const at::Tensor& logits, std::string_view target, std::string_view fake,
                                     double label_smoothing, std::string_view reduction,
                                     const OptionalTensor& row_weight) {
  TORCH_CHECK_VALUE(target == "dynamic" || target == "fake", kNames.op, ": target is '", target,
                    "', wanted labels, probabilities, 'dynamic' or 'fake'");
  const auto loss = target == "fake" ? math::generated_row(0) : math::kCrossEntropy;
  return named_loss(
      kNames, with_one_label(logits, std::nullopt, loss, fake, reduction, false, label_smoothing, row_weight, false));
}

TORCH_LIBRARY_FRAGMENT(amgan_fast, m) {
  const auto tags = any_layout();
  m.def(R"(kplus1_cross_entropy(
    Tensor logits, Tensor target, *, str fake="column", float label_smoothing=0.0, str reduction="mean",
    Tensor? weight=None, int? ignore_index=-100, Tensor? row_weight=None) -> Tensor)",
        tags);
  m.def(R"(kplus1_cross_entropy.mode(
    Tensor logits, str target, *, str fake="column", float label_smoothing=0.0, str reduction="mean",
    Tensor? row_weight=None) -> Tensor)",
        tags);
  m.impl("kplus1_cross_entropy", kplus1_cross_entropy);
  m.impl("kplus1_cross_entropy.mode", kplus1_cross_entropy_mode);
}

TORCH_LIBRARY_IMPL(amgan_fast, FuncTorchBatchedDecomposition, m) {
  m.impl("kplus1_cross_entropy", kplus1_cross_entropy);
  m.impl("kplus1_cross_entropy.mode", kplus1_cross_entropy_mode);
}

}  // namespace
}  // namespace amgan::ops
