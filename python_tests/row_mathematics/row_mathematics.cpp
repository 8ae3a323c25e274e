// csrc/math for a single row, as a module of Python (pybind11): no tensors, no vectors, no dispatcher. For tests of the
// formulas alone, in float and in double, and for whoever wants to try them out.
//
// The loops are the plain ones: find the largest logit, sum what lies below it, ask for the terms, use them once for
// each column. The last logit of `kplus1` is that of the generated class.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <tuple>
#include <vector>

#include "math/entropy.h"
#include "math/losses.h"

namespace py = pybind11;
namespace math = amgan::math;

namespace {

template <typename T>
using Row = std::vector<T>;

template <typename T>
void require_alike(const Row<T>& logits, const Row<T>& along) {
  if (logits.size() < 2 || logits.size() != along.size()) {
    throw std::invalid_argument("logits and along: found other lengths, wanted two or more numbers each");
  }
}

// What a pass over `count` logits leaves of their exponentials.
template <typename T>
struct Pass {
  T max, excess, shifts = 0, weighted = 0;
  math::RowAlong<T> along{};
  Row<T> shifted, exps;

  Pass(const T* x, const T* v, size_t count) : shifted(count), exps(count) {
    const size_t largest = std::max_element(x, x + count) - x;
    max = std::isfinite(x[largest]) ? x[largest] : T(0);
    along.origin = v[largest];
    T sum = 0, below_one = 0;
    for (size_t k = 0; k < count; ++k) {
      const T s = shifted[k] = x[k] - max, e = exps[k] = std::exp(s), u = v[k] - along.origin;
      sum += e;
      if (e < T(1)) below_one += e;
      shifts += s;
      weighted += math::times_prob(s, e);
      along.sum += u;
      along.weighted += u * e;
      along.crossed += u * math::times_prob(s, e);
    }
    excess = math::sum_less_one(sum, below_one);
  }
};

// (loss, gradient, slope along v, second derivative times v)
template <typename T>
std::tuple<T, Row<T>, T, Row<T>> kplus1(const Row<T>& logits, size_t label, const math::LossCoefficients& loss,
                                        const Row<T>& v) {
  require_alike(logits, v);
  const size_t classes = logits.size() - 1;
  if (label >= classes) throw std::invalid_argument("label: wanted one of the real classes");
  const T per_class = T(1) / static_cast<T>(classes);
  const Pass<T> pass(logits.data(), v.data(), classes);
  const math::KPlus1Row<T> row{pass.max, pass.excess, pass.shifts, pass.shifted[label], logits[classes]};
  const math::KPlus1Logs<T> logs(row);
  const auto c = math::make_coefficients(loss).as<T>();
  const auto gradient = math::kplus1_gradient<T>(row, logs, c, per_class, T(1));
  const math::KPlus1Points<T> points{v[classes] - pass.along.origin, v[label] - pass.along.origin};
  const auto hessian = math::kplus1_hessian<T>(row, logs, pass.along, points, c, per_class, T(1));
  Row<T> first(classes + 1), second(classes + 1);
  for (size_t k = 0; k < classes; ++k) {
    first[k] = gradient.weight * pass.exps[k] + gradient.constant + (k == label ? gradient.target : T(0));
    second[k] = hessian.at(pass.shifted[k], v[k] - pass.along.origin, pass.exps[k]);
  }
  first[classes] = gradient.fake;
  second[classes] = hessian.fake;
  return {math::kplus1_loss<T>(row, logs, c, per_class), first, hessian.slope, second};
}

// (entropy, gradient, slope along v, second derivative times v)
template <typename T>
std::tuple<T, Row<T>, T, Row<T>> entropy(const Row<T>& logits, const Row<T>& v) {
  require_alike(logits, v);
  const Pass<T> pass(logits.data(), v.data(), logits.size());
  const math::EntropyRow<T> row{pass.max, pass.excess, pass.weighted};
  const auto terms = math::entropy_terms(row);
  const auto gradient = math::entropy_gradient(row, terms, T(1));
  const auto hessian = math::entropy_hessian(row, pass.along, T(1));
  Row<T> first(logits.size()), second(logits.size());
  for (size_t k = 0; k < logits.size(); ++k) {
    first[k] = gradient.at(pass.shifted[k], pass.exps[k]);
    second[k] = hessian.at(pass.shifted[k], v[k] - pass.along.origin, pass.exps[k]);
  }
  return {terms.entropy, first, hessian.slope, second};
}

}  // namespace

PYBIND11_MODULE(row_mathematics, m, py::mod_gil_not_used()) {
  m.def("kplus1_float", kplus1<float>, py::arg("logits"), py::arg("label"), py::arg("coefficients"), py::arg("along"));
  m.def("kplus1_double", kplus1<double>, py::arg("logits"), py::arg("label"), py::arg("coefficients"),
        py::arg("along"));
  m.def("entropy_float", entropy<float>, py::arg("logits"), py::arg("along"));
  m.def("entropy_double", entropy<double>, py::arg("logits"), py::arg("along"));
}
