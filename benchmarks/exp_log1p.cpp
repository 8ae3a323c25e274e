// exp and log1p of csrc/cpu beside those of at::vec, for exp_log1p.py, which compiles this once per instruction set.
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "cpu/vec.h"

namespace amgan::cpu {
namespace {

// f of every vector of x, a float32 tensor of whole vectors.
template <typename F>
at::Tensor map(const at::Tensor& x, const F& f) {
  at::Tensor out = at::empty_like(x);
  const float* from = x.const_data_ptr<float>();
  float* to = out.mutable_data_ptr<float>();
  for (int64_t i = 0; i < x.numel(); i += Vec<float>::size()) f(Vec<float>::loadu(from + i)).store(to + i);
  return out;
}

at::Tensor exp_ours(const at::Tensor& x) {
  return map(x, [](const Vec<float>& v) { return exp_nonpositive(v); });
}
at::Tensor exp_at_vec(const at::Tensor& x) {
  return map(x, [](const Vec<float>& v) { return v.exp_u20(); });
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
  m.def("log1p_ours(Tensor x) -> Tensor", amgan::cpu::log1p_ours);
  m.def("log1p_at_vec(Tensor x) -> Tensor", amgan::cpu::log1p_at_vec);
}
