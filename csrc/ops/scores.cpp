// score_sums: the float64 sums behind Inception Score, Mode Score and AM Score. Not differentiable.
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <string>
#include <vector>

#include "args/scores.h"
#include "ops/check.h"
#include "ops/device.h"
#include "ops/kept_memory.h"
#include "ops/register.h"

namespace amgan::ops {
namespace {

using Sums = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

template <typename F>
void each(Sums& sums, const F& f) {
  auto& [count, entropy, prob, prob_sq, log_prob] = sums;
  f(0, "count", count);
  f(1, "entropy", entropy);
  f(2, "prob", prob);
  f(3, "prob_sq", prob_sq);
  f(4, "log_prob", log_prob);
}

void check_initial(const char* op, const std::vector<at::Tensor>& initial, Sums& sums) {
  TORCH_CHECK_VALUE(initial.size() == 5, op, ": initial has ", initial.size(), " tensors, wanted the 5 of ScoreSums");
  each(sums, [&](int i, const char* name, at::Tensor& part) {
    check_same(op, (std::string("initial.") + name).c_str(), initial[i], "the sums", part);
  });
}

std::vector<at::Tensor> contiguous(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> all;
  for (const at::Tensor& tensor : tensors) all.push_back(tensor.contiguous());
  return all;
}

// `blocks` and `offset` are symbolic, as both may change from call to call of a traced program.
Sums score_sums(const at::Tensor& given, c10::SymInt blocks, c10::SymInt offset, bool probabilities,
                std::optional<at::ScalarType> dtype, const std::optional<std::vector<at::Tensor>>& initial) {
  constexpr auto op = "score_sums";
  check_logits(op, "logits", given, 1);
  TORCH_CHECK_VALUE(!dtype || *dtype == at::kDouble, op, ": dtype is ", *dtype, ", wanted float64 or None");
  const at::Tensor logits = dtype && given.is_cuda() ? given.to(at::kDouble) : given;
  AMGAN_CHECK_SIZE(blocks.sym_ge(1), op, ": blocks is ", blocks, ", wanted at least 1");
  AMGAN_CHECK_SIZE(offset.sym_ge(0), op, ": offset is ", offset, ", wanted at least 0");
  const auto options = logits.options().dtype(at::kDouble);
  const auto classes = logits.sym_size(1);
  const auto per_block = [&] { return at::empty_symint({blocks}, options); };
  const auto per_class = [&] {
    if (logits.is_cpu() && initial) return empty_in_kept_memory({blocks.expect_int(), classes.expect_int()});
    return at::empty_symint({blocks, classes}, options);
  };
  Sums sums{per_block(), per_block(), per_class(), per_class(), per_class()};
  if (initial) check_initial(op, *initial, sums);
  if (logits.is_meta()) return sums;

  const at::Tensor input = unit_columns(logits);
  auto& [count, entropy, prob, prob_sq, log_prob] = sums;
  ScoresArgs args{};
  args.dtype = dtype_of(input);
  args.probabilities = probabilities;
  args.in_double = dtype.has_value();
  args.input = input.const_data_ptr();
  args.rows = input.size(0);
  args.classes = input.size(1);
  args.row_stride = input.stride(0);
  args.blocks = blocks.expect_int();
  args.offset = offset.expect_int();
  args.count = count.mutable_data_ptr<double>();
  args.entropy = entropy.mutable_data_ptr<double>();
  args.prob = prob.mutable_data_ptr<double>();
  args.prob_sq = prob_sq.mutable_data_ptr<double>();
  args.log_prob = log_prob.mutable_data_ptr<double>();
  if (!initial) {
    run_kernel(input, args);
    return sums;
  }
  const auto before = contiguous(*initial);
  if (input.is_cpu()) {
    args.initial_count = before[0].const_data_ptr<double>();
    args.initial_entropy = before[1].const_data_ptr<double>();
    args.initial_prob = before[2].const_data_ptr<double>();
    args.initial_prob_sq = before[3].const_data_ptr<double>();
    args.initial_log_prob = before[4].const_data_ptr<double>();
  }
  run_kernel(input, args);
  if (!input.is_cpu()) {
    each(sums, [&](int i, const char*, at::Tensor& part) { part.add_(before[i]); });
  }
  return sums;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(amgan_fast, m) {
  const auto tags = any_layout();
  // The integers are in front of the star, since AOTInductor up to torch 2.14 counts those behind it that are left at
  // their defaults where an operation may choose its layout (pytorch/pytorch#194261).
  m.def(
      "score_sums(Tensor logits, SymInt blocks=1, SymInt offset=0, *, bool probabilities=False,"
      " ScalarType? dtype=None, Tensor[]? initial=None)"
      " -> (Tensor count, Tensor entropy, Tensor prob, Tensor prob_sq, Tensor log_prob)",
      tags);
  implement(m, "score_sums", score_sums);
  without_gradient(m, "score_sums");
}

}  // namespace amgan::ops
