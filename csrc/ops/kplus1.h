// The operations of the K+1 family below autograd. Python's signatures and their meaning: amgan_fast/ops/kplus1.py.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string_view>
#include <tuple>

namespace amgan::ops {

using OptionalTensor = std::optional<at::Tensor>;

// All checks of an operation; one that is called in place of another has its arguments checked in the other's name.
void check_batch(const char* op, const char* logits_name, const at::Tensor& logits, const OptionalTensor& labels,
                 at::ArrayRef<double> coefficients, std::string_view fake, std::string_view reduction, bool fake_labels,
                 double label_smoothing);

void check_pair(const char* op, const at::Tensor& real_logits, const at::Tensor& labels, const at::Tensor& fake_logits,
                std::string_view fake, double real_smoothing, double fake_smoothing, double class_smoothing,
                std::string_view reduction);

// `fake_labels`: labels may name the generated class, K. `label_smoothing`: the share of the target mass that is spread
// over all K+1 classes; no coefficient, as those would be numbers of K, which is not known while tracing.
at::Tensor kplus1_loss(const at::Tensor& logits, const OptionalTensor& labels, at::ArrayRef<double> coefficients,
                       std::string_view fake, std::string_view reduction, bool fake_labels, double label_smoothing);

at::Tensor kplus1_loss_backward(const at::Tensor& grad_output, const at::Tensor& logits, const OptionalTensor& labels,
                                at::ArrayRef<double> coefficients, std::string_view fake, std::string_view reduction,
                                bool fake_labels, double label_smoothing);

std::tuple<at::Tensor, at::Tensor> kplus1_loss_and_grad(const at::Tensor& logits, const OptionalTensor& labels,
                                                        at::ArrayRef<double> coefficients, std::string_view fake,
                                                        std::string_view reduction, bool fake_labels,
                                                        double label_smoothing);

at::Tensor am_discriminator_loss(const at::Tensor& real_logits, const at::Tensor& labels, const at::Tensor& fake_logits,
                                 std::string_view fake, double real_smoothing, double fake_smoothing,
                                 double class_smoothing, std::string_view reduction);

std::tuple<at::Tensor, at::Tensor> am_discriminator_loss_backward(const at::Tensor& grad_output,
                                                                  const at::Tensor& real_logits,
                                                                  const at::Tensor& labels,
                                                                  const at::Tensor& fake_logits, std::string_view fake,
                                                                  double real_smoothing, double fake_smoothing,
                                                                  double class_smoothing, std::string_view reduction);

std::tuple<at::Tensor, at::Tensor, at::Tensor> am_discriminator_loss_and_grad(
    const at::Tensor& real_logits, const at::Tensor& labels, const at::Tensor& fake_logits, std::string_view fake,
    double real_smoothing, double fake_smoothing, double class_smoothing, std::string_view reduction);

}  // namespace amgan::ops
