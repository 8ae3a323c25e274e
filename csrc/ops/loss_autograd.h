// The derivatives of a loss of rows of logits, the same for all of them.
//
// Backward is an operation of its own (one fused kernel), or the product with a gradient that forward has kept. Its own
// backward is again one. That of a third order is that of the same in plain ATen, in place of the second where it is to
// be differentiated itself: so derivatives of every order exist. A loss is an autograd function:
//
//   struct Loss : LossFunction<Loss> {
//     using Arguments = std::tuple<...>;       // of its schema, tensors first
//     static constexpr auto name = "...";      // beside it, NAME_and_grad and NAME_backward are registered
//     static constexpr std::array logits{0};   // which arguments are logits,
//     static constexpr int reduction = 1;      // and which is the reduction
//     static void check(const Arguments&);     // all that the operation checks, in its name,
//     static void check_values(const Arguments&);  // but for the values of labels and of row weights
//     static at::Tensor plain(const Arguments&);  // the loss in plain ATen, with all checks
//     // The derivatives of the gradient of batch i with respect to that of the loss (without reduction: of the rows of
//     // this batch) and to the logits.
//     static DoubleBackward double_backward(const at::Tensor& grad_grad, const at::Tensor& grad_output,
//                                           const Arguments&, size_t i);
//   };
//
// and one that has an operation NAME_double_backward (of one batch) says besides what that is made of:
//
//     // The second derivative of each row's loss times v.
//     static at::Tensor hessian_product(const Arguments&, const at::Tensor& logits, const at::Tensor& v);
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones_like.h>
#include <c10/core/impl/TorchDispatchModeTLS.h>
#include <torch/csrc/autograd/graph_task.h>

#include <algorithm>
#include <array>
#include <string>
#include <type_traits>
#include <vector>

#include "ops/autograd.h"
#include "ops/check.h"
#include "ops/register.h"
#include "ops/tensors.h"

namespace amgan::ops {

// --- The gradient that forward keeps. On the CPU a row's exponentials are what costs, so taking them once instead of
// twice nearly halves forward and backward together; the memory is what PyTorch's own cross-entropy keeps.

// Half precision is left out: its gradient must be rounded once, after the multiplication, or scaled losses would
// underflow. On CUDA backward reads the logits again instead, which moves fewer bytes than a kept gradient.
inline bool keeps_gradient(const at::Tensor& logits) {
  const auto dtype = logits.scalar_type();
  return logits.is_cpu() && (dtype == at::kFloat || dtype == at::kDouble);
}

// While tracing, values must not be looked at.
inline bool is_one(const at::Tensor& scalar) {
  if (!is_plain(scalar) || c10::impl::TorchDispatchModeTLS::any_modes_set()) return false;
  return scalar.scalar_type() == at::kFloat
             ? *scalar.const_data_ptr<float>() == 1
             : scalar.scalar_type() == at::kDouble && *scalar.const_data_ptr<double>() == 1;
}

// The gradient for a given gradient of the reduced loss. loss.backward() starts with 1: then it is the kept one itself,
// unless that is needed again.
inline at::Tensor scaled_gradient(const at::Tensor& gradient, const at::Tensor& grad_output, Reduction reduction,
                                  bool needed_again) {
  if (reduction == Reduction::none) return gradient * grad_output.unsqueeze(1);
  if (!is_one(grad_output)) return gradient * grad_output;
  return needed_again ? gradient.clone() : gradient;
}

// --- Parts of the second derivative.

// The Jacobian of a softmax with values p, times v: p * (v - p.v).
inline at::Tensor softmax_jvp(const at::Tensor& p, const at::Tensor& v) {
  return p * (v - (p * v).sum(1, true));
}

// Rows of a matrix, times a weight each.
inline at::Tensor weighted_rows(const at::Tensor& rows, const OptionalTensor& weight) {
  return weight ? rows * weight->to(rows.scalar_type()).unsqueeze(1) : rows;
}

// What multiplies each row's derivative, given the gradient of the reduced loss.
inline at::Tensor per_row(const at::Tensor& grad_output, const at::Tensor& logits, Reduction reduction) {
  if (reduction == Reduction::none) return grad_output.unsqueeze(1);
  return reduction == Reduction::mean ? grad_output / at::Scalar(logits.sym_size(0)) : grad_output;
}

// The gradient of (gradient . v) with respect to grad_output, from the gradient at grad_output = 1.
inline at::Tensor per_output(const at::Tensor& gradient, const at::Tensor& v, Reduction reduction) {
  const at::Tensor product = gradient.to(v.scalar_type()) * v;
  return reduction == Reduction::none ? product.sum(1) : product.sum();
}

// --- Arguments, saved in forward and read in backward.

// What outlives the call.
template <typename T>
struct KeptType {
  using type = std::decay_t<T>;
};
template <>
struct KeptType<std::string_view> {
  using type = std::string;
};
template <>
struct KeptType<at::ArrayRef<double>> {
  using type = std::vector<double>;
};

// Tensors by themselves, followed by `more`; all else in one list, which compiled autograd takes for constants.
template <typename... Types>
void save(AutogradContext* ctx, const std::tuple<Types...>& arguments, at::ArrayRef<at::Tensor> more = {}) {
  variable_list tensors;
  tensors.reserve(sizeof...(Types) + more.size());
  c10::impl::GenericList options(c10::AnyType::get());
  options.reserve(sizeof...(Types));
  const auto take = [&](const auto& argument) {
    using T = std::decay_t<decltype(argument)>;
    if constexpr (std::is_same_v<T, at::Tensor>) {
      tensors.push_back(argument);
    } else if constexpr (std::is_same_v<T, OptionalTensor>) {
      tensors.push_back(argument.value_or(at::Tensor()));
    } else {
      options.push_back(c10::IValue(argument));
    }
  };
  std::apply([&](const auto&... given) { (take(given), ...); }, arguments);
  tensors.insert(tensors.end(), more.begin(), more.end());
  ctx->save_for_backward(std::move(tensors));
  ctx->saved_data["options"] = std::move(options);
}

template <typename Arguments>
class Saved;

template <typename... Types>
class Saved<std::tuple<Types...>> {
 public:
  explicit Saved(AutogradContext* ctx)
      : tensors_(ctx->get_saved_variables()), options_(ctx->saved_data["options"].toList()) {}

  // As they were given; what they look into is the result.
  std::tuple<typename KeptType<Types>::type...> arguments() const {
    size_t tensor = 0, option = 0;
    return {next<typename KeptType<Types>::type>(tensor, option)...};
  }

  // One of those that are no tensors, by its place among all.
  template <size_t i>
  auto option() const {
    constexpr std::array is_option{!is_tensor<std::decay_t<Types>>...};
    constexpr auto before = std::count(is_option.begin(), is_option.begin() + i, true);
    return options_.get(before).template to<typename KeptType<std::tuple_element_t<i, std::tuple<Types...>>>::type>();
  }

  // What was saved beside them.
  at::ArrayRef<at::Tensor> more() const {
    return at::ArrayRef<at::Tensor>(tensors_).slice((0 + ... + is_tensor<std::decay_t<Types>>));
  }

 private:
  template <typename T>
  static constexpr bool is_tensor = std::is_same_v<T, at::Tensor> || std::is_same_v<T, OptionalTensor>;

  template <typename T>
  T next(size_t& tensor, size_t& option) const {
    if constexpr (std::is_same_v<T, at::Tensor>) {
      return tensors_[tensor++];
    } else if constexpr (std::is_same_v<T, OptionalTensor>) {
      const at::Tensor& found = tensors_[tensor++];
      return found.defined() ? OptionalTensor(found) : std::nullopt;
    } else {
      return options_.get(option++).template to<T>();
    }
  }

  const variable_list tensors_;
  const c10::impl::GenericList options_;
};

// --- The operations of a loss.

template <typename Loss>
struct LossOperations {
  using Arguments = typename Loss::Arguments;
  static constexpr size_t batches = Loss::logits.size();
  using Batches = std::array<at::Tensor, batches>;
  using Gradients = std::conditional_t<batches == 1, at::Tensor, std::tuple<at::Tensor, at::Tensor>>;
  using WithGradients = std::conditional_t<batches == 1, std::tuple<at::Tensor, at::Tensor>,
                                           std::tuple<at::Tensor, at::Tensor, at::Tensor>>;
  using BackwardArguments =
      decltype(std::tuple_cat(std::declval<std::tuple<const at::Tensor&>>(), std::declval<Arguments>()));
  using DoubleBackwardArguments = decltype(std::tuple_cat(
      std::declval<std::tuple<const at::Tensor&, const at::Tensor&>>(), std::declval<Arguments>()));

  static Reduction reduction(const Arguments& arguments) {
    return parse_reduction(Loss::name, std::get<Loss::reduction>(arguments));
  }

  static at::Tensor loss(const Arguments& arguments) {
    static const Operation<at::Tensor, Arguments> call(Loss::name);
    return call(arguments);
  }

  // The loss, and a gradient for each batch of logits.
  static variable_list loss_and_grad(const Arguments& arguments) {
    static const Operation<WithGradients, Arguments> call(std::string(Loss::name) + "_and_grad");
    return as_list(call(arguments));
  }

  static variable_list backward(const BackwardArguments& arguments) {
    static const Operation<Gradients, BackwardArguments> call(std::string(Loss::name) + "_backward");
    return as_list(call(arguments));
  }

  // The derivatives of that of a loss of one batch.
  static DoubleBackward double_backward(const at::Tensor& grad_grad, const at::Tensor& grad_output,
                                        const Arguments& arguments) {
    static const Operation<DoubleBackward, DoubleBackwardArguments> call(std::string(Loss::name) + "_double_backward");
    return call(std::tuple_cat(std::tuple<const at::Tensor&, const at::Tensor&>(grad_grad, grad_output), arguments));
  }

  static BackwardArguments backward_arguments(const at::Tensor& grad_output, const Arguments& arguments) {
    return std::tuple_cat(std::tuple<const at::Tensor&>(grad_output), arguments);
  }

  // What `function` makes of the logits of every batch.
  template <typename Function>
  static auto with_logits(const Arguments& arguments, const Function& function) {
    return [&]<size_t... i>(std::index_sequence<i...>) {
      return function(std::get<Loss::logits[i]>(arguments)...);
    }(std::make_index_sequence<batches>());
  }

  static Batches logits(const Arguments& arguments) {
    return with_logits(arguments, [](const auto&... logits) { return Batches{logits...}; });
  }

  // The gradients of losses without reduction belong to the rows of all batches in order; a reduced one to all of them.
  static Batches per_batch(const at::Tensor& grad_output, at::ArrayRef<at::Tensor> rows, Reduction reduction) {
    Batches parts;
    parts.fill(grad_output);
    if (batches == 1 || reduction != Reduction::none) return parts;
    c10::SymInt first = 0;
    for (size_t i = 0; i < batches; ++i) {
      parts[i] = grad_output.narrow_symint(0, first, rows[i].sym_size(0));
      first += rows[i].sym_size(0);
    }
    return parts;
  }

  // A gradient for each batch, from those that forward has kept.
  static variable_list scaled(at::ArrayRef<at::Tensor> kept, const at::Tensor& grad_output, Reduction reduction,
                              bool needed_again) {
    const auto upstream = per_batch(grad_output, kept, reduction);
    variable_list gradients;
    for (size_t i = 0; i < batches; ++i) {
      gradients.push_back(scaled_gradient(kept[i], upstream[i], reduction, needed_again));
    }
    return gradients;
  }

  // The gradient of the loss again, from the parts of per_batch. One that is undefined is 0.
  static at::Tensor joined(const Batches& parts, const Batches& upstream, Reduction reduction) {
    if constexpr (batches == 1) {
      return parts[0];
    } else {
      const auto part = [&](size_t i) { return parts[i].defined() ? parts[i] : at::zeros_like(upstream[i]); };
      if (reduction == Reduction::none) return at::cat({part(0), part(1)});
      return parts[0].defined() && parts[1].defined() ? parts[0] + parts[1] : parts[parts[1].defined()];
    }
  }

 private:
  static variable_list as_list(const at::Tensor& tensor) { return {tensor}; }
  template <typename... Tensors>
  static variable_list as_list(const std::tuple<Tensors...>& tensors) {
    return std::apply([](const auto&... x) { return variable_list{x...}; }, tensors);
  }
};

// --- The two autograd functions.

// torch sees the tensors that have a derivative, and hands on the arguments of the operation as they are.

template <typename Loss>
class LossBackwardFunction;

template <typename Loss>
struct LossFunction : TraceableFunction<Loss> {
  template <typename Arguments, typename... Tensors>
  static Variable forward(AutogradContext* ctx, const Arguments& arguments, const Tensors&...) {
    using Operations = LossOperations<Loss>;
    const BelowAutograd below;
    if (!keeps_gradient(std::get<Loss::logits[0]>(arguments))) {
      save(ctx, arguments);
      return Operations::loss(arguments);
    }
    Loss::check(arguments);
    const variable_list loss_and_grad = named_by_caller([&] { return Operations::loss_and_grad(arguments); },  //
                                                        [&] { Loss::check_values(arguments); });
    save(ctx, arguments, at::ArrayRef<at::Tensor>(loss_and_grad).slice(1));
    return loss_and_grad[0];
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    using Operations = LossOperations<Loss>;
    using Arguments = typename Loss::Arguments;
    const Saved<Arguments> saved(ctx);
    const at::ArrayRef<at::Tensor> kept = saved.more();
    variable_list gradients;
    if (!kept.empty() && !at::GradMode::is_enabled()) {
      const Reduction reduction = parse_reduction(Loss::name, saved.template option<Loss::reduction>());
      gradients = Operations::scaled(kept, grads[0], reduction, torch::autograd::get_current_graph_task_keep_graph());
    } else {
      const auto arguments = saved.arguments();
      const auto given = Operations::backward_arguments(grads[0], Arguments(arguments));
      // With create_graph the gradient must itself depend on the logits. What torch.func has wrapped is for the
      // operation, which it calls for one element after the other.
      const bool from_kept = !kept.empty() && is_plain(grads[0]);
      gradients = from_kept ? LossBackwardFunction<Loss>::of(given, &kept) : Operations::backward(given);
    }
    gradients.insert(gradients.begin(), Variable());
    return gradients;
  }
};

template <typename Loss>
class LossBackwardFunction : public TraceableFunction<LossBackwardFunction<Loss>> {
  using Operations = LossOperations<Loss>;
  using Arguments = typename Operations::BackwardArguments;

 public:
  // The gradients; from those that forward has kept, unless these are null.
  static variable_list of(const Arguments& arguments, const at::ArrayRef<at::Tensor>* kept = nullptr) {
    return std::apply(
        [&](const at::Tensor& grad_output, const auto&... given) {
          return Operations::with_logits(typename Loss::Arguments(given...), [&](const auto&... logits) {
            return LossBackwardFunction::apply(arguments, kept, grad_output, logits...);
          });
        },
        arguments);
  }

  template <typename... Tensors>
  static variable_list forward(AutogradContext* ctx, const Arguments& arguments, const at::ArrayRef<at::Tensor>* kept,
                               const at::Tensor& grad_output, const Tensors&...) {
    ctx->set_materialize_grads(false);
    save(ctx, arguments);
    const BelowAutograd below;
    if (kept == nullptr) return Operations::backward(arguments);
    const auto reduction = std::apply(
        [](const at::Tensor&, const auto&... given) { return Operations::reduction({given...}); }, arguments);
    return Operations::scaled(*kept, grad_output, reduction, true);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto arguments = Saved<Arguments>(ctx).arguments();
    return std::apply(
        [&](const at::Tensor& grad_output, const auto&... given) {
          return second_derivatives(grads, grad_output, typename Loss::Arguments(given...));
        },
        arguments);
  }

 private:
  static variable_list second_derivatives(const variable_list& grads, const at::Tensor& grad_output,
                                          const typename Loss::Arguments& arguments) {
    const Reduction reduction = Operations::reduction(arguments);
    const auto logits = Operations::logits(arguments);
    const auto upstream = Operations::per_batch(grad_output, logits, reduction);
    typename Operations::Batches of_output;
    variable_list result(3 + Operations::batches);
    // The batches share grad_output only. One whose gradient is not used is not looked at again.
    for (size_t i = 0; i < logits.size(); ++i) {
      if (grads[i].defined()) {
        std::tie(of_output[i], result[3 + i]) = Loss::double_backward(grads[i], upstream[i], arguments, i);
      } else {
        result[3 + i] = at::zeros_like(logits[i]);
      }
    }
    const at::Tensor joined = Operations::joined(of_output, upstream, reduction);
    if (joined.defined()) result[2] = joined.to(grad_output.scalar_type());
    return result;
  }
};

// The same in plain ATen, for a loss of one batch: what is differentiated again, and what CUDA has.
template <typename Loss>
DoubleBackward plain_double_backward(const at::Tensor& grad_grad, const at::Tensor& grad_output,
                                     const typename Loss::Arguments& arguments) {
  using Operations = LossOperations<Loss>;
  const Reduction reduction = Operations::reduction(arguments);
  const at::Tensor& x = std::get<Loss::logits[0]>(arguments);
  const at::Tensor v = grad_grad.to(loss_dtype(x));
  const at::Tensor one = at::ones_like(grad_output);
  const at::Tensor of_ones = Operations::backward(Operations::backward_arguments(one, arguments))[0];
  const at::Tensor product = Loss::hessian_product(arguments, x, v) * per_row(grad_output, x, reduction);
  return {per_output(of_ones, v, reduction), product.to(x.scalar_type())};
}

// --- What is registered.

template <typename Loss>
void check_constants(const typename Loss::Arguments& arguments) {
  const auto check = [&](const auto& argument) {
    if constexpr (std::is_same_v<std::decay_t<decltype(argument)>, OptionalTensor>) {
      if (!argument || !is_differentiated(*argument)) return;
      Loss::check(arguments);
      check_constant(Loss::name, "row_weight", *argument);
    }
  };
  std::apply([&](const auto&... given) { (check(given), ...); }, arguments);
}

template <typename Loss>
at::Tensor differentiable_loss(const typename Loss::Arguments& arguments) {
  check_constants<Loss>(arguments);
  return LossOperations<Loss>::with_logits(arguments, [&](const auto&... logits) {
    if (is_transformed() || (has_tangent(logits) || ...)) return Loss::plain(arguments);
    if ((is_differentiated(logits) || ...)) return Loss::apply(arguments, logits...);
    const BelowAutograd below;
    return LossOperations<Loss>::loss(arguments);
  });
}

template <typename Loss>
typename LossOperations<Loss>::Gradients differentiable_backward(
    const typename LossOperations<Loss>::BackwardArguments& arguments) {
  const variable_list grads = LossBackwardFunction<Loss>::of(arguments);
  if constexpr (LossOperations<Loss>::batches == 1) {
    return grads[0];
  } else {
    return {grads[0], grads[1]};
  }
}

template <typename Loss>
DoubleBackward differentiable_double_backward(const at::Tensor& grad_grad, const at::Tensor& grad_output,
                                              const typename Loss::Arguments& arguments) {
  using Operations = LossOperations<Loss>;
  const at::Tensor& logits = std::get<Loss::logits[0]>(arguments);
  if (is_differentiated(grad_grad) || is_differentiated(grad_output) || is_differentiated(logits)) {
    return plain_double_backward<Loss>(grad_grad, grad_output, arguments);
  }
  const BelowAutograd below;
  return Operations::double_backward(grad_grad, grad_output, arguments);
}

// To be called with a library of the Autograd key.
template <typename Loss>
void differentiate(torch::Library& m) {
  m.impl(Loss::name, Unpacked<differentiable_loss<Loss>>::call);
  m.impl((std::string(Loss::name) + "_backward").c_str(), Unpacked<differentiable_backward<Loss>>::call);
  without_gradient(m, (std::string(Loss::name) + "_and_grad").c_str());
}

// Likewise, for a loss that has an operation for it; and with a library of the CUDA key.
template <typename Loss>
void differentiate_twice(torch::Library& m) {
  m.impl((std::string(Loss::name) + "_double_backward").c_str(), Unpacked<differentiable_double_backward<Loss>>::call);
}
template <typename Loss>
void implement_plainly(torch::Library& m) {
  m.impl((std::string(Loss::name) + "_double_backward").c_str(), Unpacked<plain_double_backward<Loss>>::call);
}

template <typename Loss>
at::Tensor plain_loss_of_constants(const typename Loss::Arguments& arguments) {
  check_constants<Loss>(arguments);
  return Loss::plain(arguments);
}

// With a library of the key that takes operations apart for vmap.
template <typename Loss>
void take_apart(torch::Library& m) {
  m.impl(Loss::name, Unpacked<plain_loss_of_constants<Loss>>::call);
}

}  // namespace amgan::ops
