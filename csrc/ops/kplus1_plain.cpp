// The losses of the family made of PyTorch's own operations, which torch.func and forward-mode derivatives take apart:
// an autograd function in C++ cannot say what these ask. The same sum of terms as in math/kplus1.h.
#include <ATen/ops/cat.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/log_sigmoid.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <limits>

#include "ops/kplus1.h"
#include "ops/plain.h"

namespace amgan::ops {
namespace {

constexpr auto kInfinity = std::numeric_limits<double>::infinity(), kNaN = std::numeric_limits<double>::quiet_NaN();

// A coefficient of each row times its term. One of 0 is absent, whatever the value of the term.
at::Tensor or_absent(const at::Tensor& c, const at::Tensor& term) {
  return at::where(c == 0, at::zeros_like(term), c * term);
}

// 0, and NaN in rows with NaN or +inf in any logit, or where nothing is possible, not even the generated class.
at::Tensor zero_or_nan(const at::Tensor& logits, bool fake_column) {
  const at::Tensor largest = logits.detach().amax(1), zero = largest.clamp_min(0) * 0;
  return fake_column ? zero.masked_fill(largest == -kInfinity, kNaN) : zero;
}

at::Tensor plain_rows(const KPlus1Call& call, const KPlus1Rows& given) {
  at::Tensor l = given.logits.to(loss_dtype(given.logits));
  const at::Tensor unsound = zero_or_nan(l, call.fake_column);
  l = l * (1 + unsound).unsqueeze(1);  // so that all of the gradient is NaN where the loss is
  const int64_t classes = l.size(1) - static_cast<int64_t>(call.fake_column);
  const double s = given.second_coefficient;
  const auto c = math::make_coefficients(math::smoothed(given.coefficients, call.label_smoothing, classes), s);
  // All below is of logits less the largest real one, m: differences of small numbers. Where all are -inf, m is 0 and R
  // has no derivative.
  const at::Tensor unshifted = l.narrow(1, 0, classes), largest = unshifted.detach().amax(1);
  const at::Tensor m = at::where(largest.isfinite(), largest, at::zeros_like(largest));
  const at::Tensor none = largest == -kInfinity;
  const at::Tensor real = unshifted - m.unsqueeze(1);
  const at::Tensor log_sum = real.masked_fill(none.unsqueeze(1), 0).logsumexp(1).masked_fill(none, -kInfinity);
  const at::Tensor fake = (call.fake_column ? l.select(1, classes) : at::zeros_like(log_sum)) - m;
  const at::Tensor label = given.labels != nullptr ? given.labels->to(at::kLong) : unshifted.detach().argmax(1);
  // R - l for a logit or a mean of logits: infinite where that is -inf, as also R may be.
  const auto below = [&](const at::Tensor& logit) { return at::where(none, -logit, log_sum - logit); };
  // A label that is no class has no logit. What it may be is masked, and any other must fail.
  const auto logit_of = [&](const at::Tensor& labels, const at::Tensor& no_class) {
    return real.gather(1, labels.masked_fill(no_class, 0).unsqueeze(1)).squeeze(1);
  };
  // As Coefficients::targeting_fake and unlabelled.
  const auto of_each = [&](double value) { return at::full_like(log_sum, value); };
  const auto is_fake = [&](const at::Tensor& labels) {
    return given.fake_labels ? labels.eq(classes) : at::zeros_like(labels, at::kBool);
  };
  const at::Tensor on_fake = is_fake(label);
  const at::Tensor without = given.unlabelled ? label.eq(-1) : at::zeros_like(on_fake);
  const at::Tensor no_class = on_fake.logical_or(without);
  const at::Tensor t = of_each(c.t).masked_fill(no_class, 0), u = of_each(c.u).masked_fill(without, 0);
  at::Tensor f = at::where(on_fake, of_each(c.f + c.t), of_each(c.f)), of_second;
  if (given.second_labels != nullptr) {
    const at::Tensor second = given.second_labels->to(at::kLong), second_on_fake = is_fake(second);
    f = at::where(second_on_fake, f + s, f);
    of_second = or_absent(of_each(s).masked_fill(second_on_fake, 0), below(logit_of(second, second_on_fake)));
  }
  const at::Tensor d = fake - log_sum;
  at::Tensor rows = unsound - or_absent(f, at::log_sigmoid(d)) - or_absent(c.a - f, at::log_sigmoid(-d)) +
                    or_absent(t, below(logit_of(label, no_class)));
  if (c.u != 0) rows = rows + or_absent(u, below(real.mean(1)));
  if (of_second.defined()) rows = rows + of_second;
  if (c.z != 0) rows = rows + c.z * (m + log_sum);
  return weighted_losses(rows, given.weight);
}

}  // namespace

at::Tensor plain_loss(const KPlus1Call& call) {
  check_all(call);
  std::vector<at::Tensor> parts;
  for (const KPlus1Rows& given : call.batches) parts.push_back(reduced(plain_rows(call, given), call.reduction));
  if (parts.size() == 1) return parts[0];
  return call.reduction == Reduction::none ? at::cat(parts) : parts[0] + parts[1];
}

}  // namespace amgan::ops
