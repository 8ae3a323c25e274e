// Where the elements of a saved tensor lie in memory. Hooks on saved tensors owe autograd their values, not their
// strides (torch.autograd.graph.save_on_cpu brings contiguous ones back), while places in memory say which elements
// leaky_dropout dropped.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymBool.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <numeric>
#include <vector>

namespace amgan::ops {

// Dimensions from the outermost in memory to the innermost.
using MemoryOrder = std::vector<int64_t>;

// Whether the tensor fills its memory in this order. Sizes may be unknown while tracing.
inline bool is_dense(const at::Tensor& tensor, const MemoryOrder& order) {
  c10::SymInt stride = 1;
  for (auto d = order.rbegin(); d != order.rend(); ++d) {
    const c10::SymInt size = tensor.sym_size(*d);
    if (!TORCH_GUARD_OR_FALSE(size.sym_eq(1).sym_or(tensor.sym_stride(*d).sym_eq(stride)))) return false;
    stride = stride * size;
  }
  return true;
}

inline MemoryOrder memory_order(const at::Tensor& tensor) {
  MemoryOrder order(tensor.dim());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return TORCH_GUARD_OR_FALSE(tensor.sym_stride(a).sym_gt(tensor.sym_stride(b)));
  });
  return order;
}

// The order alone, not the strides, which would be compiled into the graphs of compiled autograd as numbers.
inline void save_layout(torch::autograd::AutogradContext* ctx, const at::Tensor& tensor) {
  const MemoryOrder order = memory_order(tensor);
  ctx->saved_data["order"] = is_dense(tensor, order) ? order : MemoryOrder{};
}

// The saved tensor as it was laid out when it was saved, if it was dense.
inline at::Tensor in_saved_layout(torch::autograd::AutogradContext* ctx, const at::Tensor& saved) {
  const MemoryOrder order = ctx->saved_data["order"].toIntVector();
  if (is_dense(saved, order)) return saved;
  MemoryOrder inverse(order.size());
  for (size_t place = 0; place < order.size(); ++place) inverse[order[place]] = static_cast<int64_t>(place);
  return saved.permute(order).contiguous().permute(inverse);
}

}  // namespace amgan::ops
