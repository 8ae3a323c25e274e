// score_sums: the float64 sums behind Inception Score, Mode Score and AM Score. Not differentiable.
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "args/scores.h"
#include "ops/check.h"
#include "ops/device.h"
#include "ops/register.h"

namespace amgan::ops {
namespace {

using Sums = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

// `blocks` and `offset` are symbolic, as both may change from call to call of a traced program.
Sums score_sums(const at::Tensor& logits, c10::SymInt blocks, c10::SymInt offset, bool probabilities) {
  constexpr auto op = "score_sums";
  check_logits(op, "logits", logits, 1);
  AMGAN_CHECK_SIZE(blocks.sym_ge(1), op, ": blocks is ", blocks, ", wanted at least 1");
  AMGAN_CHECK_SIZE(offset.sym_ge(0), op, ": offset is ", offset, ", wanted at least 0");
  const auto options = logits.options().dtype(at::kDouble);
  const auto classes = logits.sym_size(1);
  const auto per_block = [&] { return at::empty_symint({blocks}, options); };
  const auto per_class = [&] { return at::empty_symint({blocks, classes}, options); };
  Sums sums{per_block(), per_block(), per_class(), per_class(), per_class()};
  if (logits.is_meta()) return sums;

  const at::Tensor input = unit_columns(logits);
  auto& [count, entropy, prob, prob_sq, log_prob] = sums;
  ScoresArgs args{};
  args.dtype = dtype_of(input);
  args.probabilities = probabilities;
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
  run_kernel(input, args);
  return sums;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(amgan_fast, m) {
  m.def(
      "score_sums(Tensor logits, *, SymInt blocks=1, SymInt offset=0, bool probabilities=False)"
      " -> (Tensor count, Tensor entropy, Tensor prob, Tensor prob_sq, Tensor log_prob)",
      {at::Tag::pt2_compliant_tag});
  implement(m, "score_sums", score_sums);
  without_gradient(m, "score_sums");
}

}  // namespace amgan::ops
