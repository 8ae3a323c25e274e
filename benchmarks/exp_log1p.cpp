// exp and log1p of csrc/cpu beside those of at::vec, for exp_log1p.py, which compiles this once per instruction set.
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "cpu/vec.h"

namespace amgan::cpu {
namespace {

// f of every vector of x, a tensor of T and of whole vectors.
template <typename T = float, typename F>
at::Tensor map(const at::Tensor& x, const F& f) {
  at::Tensor out = at::empty_like(x);
  const T* from = x.const_data_ptr<T>();
  T* to = out.mutable_data_ptr<T>();
  for (int64_t i = 0; i < x.numel(); i += Vec<T>::size()) f(Vec<T>::loadu(from + i)).store(to + i);
  return out;
}

at::Tensor exp_ours(const at::Tensor& x) {
  return map(x, [](const Vec<float>& v) { return exp_nonpositive(v); });
}
at::Tensor exp_at_vec(const at::Tensor& x) {
  return map(x, [](const Vec<float>& v) { return v.exp_u20(); });
}
// Four vectors together, as the scores of long rows take them.
at::Tensor exp_double_ours(const at::Tensor& x) {
  constexpr int n = 4;
  constexpr int64_t size = Vec<double>::size();
  at::Tensor out = at::empty_like(x);
  const double* from = x.const_data_ptr<double>();
  double* to = out.mutable_data_ptr<double>();
  for (int64_t i = 0; i < x.numel(); i += n * size) {
    Vec<double> values[n], e[n], weighted(0.0);
    for (int v = 0; v < n; ++v) values[v] = Vec<double>::loadu(from + i + v * size);
    exp_nonpositive(values, e, weighted);
    for (int v = 0; v < n; ++v) e[v].store(to + i + v * size);
  }
  return out;
}
at::Tensor exp_double_at_vec(const at::Tensor& x) {
  return map<double>(x, [](const Vec<double>& v) { return v.exp(); });
}
at::Tensor log1p_ours(const at::Tensor& x) {
  return map(x, [](const Vec<float>& v) { return log1p_vec(v); });
}
at::Tensor log1p_at_vec(const at::Tensor& x) {
  return map(x, [](const Vec<float>& v) { return v.log1p(); });
}

}  // namespace
}  // namespace amgan::cpu

TORCH_LIBRARY(AMGAN_LIBRARY, m) {
  m.def("exp_ours(Tensor x) -> Tensor", amgan::cpu::exp_ours);
  m.def("exp_at_vec(Tensor x) -> Tensor", amgan::cpu::exp_at_vec);
  m.def("exp_double_ours(Tensor x) -> Tensor", amgan::cpu::exp_double_ours);
  m.def("exp_double_at_vec(Tensor x) -> Tensor", amgan::cpu::exp_double_at_vec);
  m.def("log1p_ours(Tensor x) -> Tensor", amgan::cpu::log1p_ours);
  m.def("log1p_at_vec(Tensor x) -> Tensor", amgan::cpu::log1p_at_vec);
}
