// The choice between the two ways through the columns.
#pragma once

#include "cpu/lanes.h"
#include "cpu/vec.h"

namespace amgan::cpu {
namespace {

template <typename Scalar, typename Way>
struct Layout {
  using scalar_t = Scalar;
  using type = Way;
};

// Calls f(Layout<scalar_t, InLanes<scalar_t>>()), or the same with InColumns. `for_type` is for_dtype, or another that
// calls with a number of the type.
template <template <typename> class InLanes, template <typename> class InColumns, typename ForType, typename F>
void for_layout_of(const ForType& for_type, Dtype dtype, int64_t classes, const F& f) {
  for_type(dtype, [&](auto zero) {
    using scalar_t = decltype(zero);
    if (classes <= kLaneColumns) {
      f(Layout<scalar_t, InLanes<scalar_t>>());
    } else {
      f(Layout<scalar_t, InColumns<scalar_t>>());
    }
  });
}

template <template <typename> class InLanes, template <typename> class InColumns, typename F>
void for_layout(Dtype dtype, int64_t classes, const F& f) {
  for_layout_of<InLanes, InColumns>([](Dtype of, const auto& g) { for_dtype(of, g); }, dtype, classes, f);
}

}  // namespace
}  // namespace amgan::cpu
