// The losses of the family made of PyTorch's own operations, which torch.func and forward-mode derivatives take apart:
// an autograd function in C++ cannot say what these ask. The same sum of terms as in math/kplus1.h.
#include <ATen/ops/cat.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/log_sigmoid.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include "ops/kplus1.h"
#include "ops/plain.h"

namespace amgan::ops {
namespace {

// A coefficient of each row times its term. One of 0 is absent, whatever the value of the term.
at::Tensor or_absent(const at::Tensor& c, const at::Tensor& term) {
  return at::where(c == 0, at::zeros_like(term), c * term);
}

// 0, and NaN in rows with NaN or +inf in any logit.
at::Tensor zero_or_nan(const at::Tensor& logits) {
  return logits.detach().amax(1).clamp_min(0) * 0;
}

at::Tensor plain_rows(const KPlus1Call& call, const KPlus1Rows& given) {
  const at::Tensor l = given.logits.to(loss_dtype(given.logits));
  const int64_t classes = l.size(1) - static_cast<int64_t>(call.fake_column);
  const double s = given.second_coefficient;
  const auto c = math::make_coefficients(math::smoothed(given.coefficients, call.label_smoothing, classes), s);
  const at::Tensor real = l.narrow(1, 0, classes), log_sum = real.logsumexp(1);
  const at::Tensor fake = call.fake_column ? l.select(1, classes) : at::zeros_like(log_sum);
  const at::Tensor label = given.labels != nullptr ? given.labels->to(at::kLong) : real.detach().argmax(1);
  const auto logit_of = [&](const at::Tensor& labels) {
    return real.gather(1, labels.clamp(0, classes - 1).unsqueeze(1)).squeeze(1);
  };
  // As Coefficients::targeting_fake and unlabelled.
  const auto of_each = [&](double value) { return at::full_like(log_sum, value); };
  const at::Tensor is_class = label.ge(0).logical_and(label.lt(classes));
  const at::Tensor t = of_each(c.t).masked_fill(is_class.logical_not(), 0),
                   u = of_each(c.u).masked_fill(label.lt(0), 0);
  at::Tensor f = at::where(label.eq(classes), of_each(c.f + c.t), of_each(c.f)), of_second;
  if (given.second_labels != nullptr) {
    const at::Tensor second = given.second_labels->to(at::kLong), on_fake = second.eq(classes);
    f = at::where(on_fake, f + s, f);
    of_second = or_absent(of_each(s).masked_fill(on_fake, 0), log_sum - logit_of(second));
  }
  const at::Tensor d = fake - log_sum;
  at::Tensor rows = zero_or_nan(l) - or_absent(f, at::log_sigmoid(d)) - or_absent(c.a - f, at::log_sigmoid(-d)) +
                    or_absent(t, log_sum - logit_of(label));
  if (c.u != 0) rows = rows + or_absent(u, log_sum - real.mean(1));
  if (of_second.defined()) rows = rows + of_second;
  if (c.z != 0) rows = rows + c.z * log_sum;
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
