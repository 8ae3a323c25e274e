// The sums of math/entropy.h for a tile of rows, a lane each: for the class entropy and for the scores.
#pragma once

#include "cpu/exp_sums.h"
#include "cpu/lanes.h"
#include "math/entropy.h"

namespace amgan::cpu {
namespace {

// Leaves the exponentials of the logits in exps.
template <typename scalar_t>
math::EntropyRow<Vec<Computing<scalar_t>>> entropy_row(const Tile<scalar_t>& logits, int64_t classes,
                                                       Tile<scalar_t>& exps) {
  const auto shift = finite_shift(logits.max(classes));
  ExpSums<Computing<scalar_t>, false, true, true> sums;
  int64_t k = 0;
  const auto add_columns = [&](auto n) {  // as many as go together
    Vec<Computing<scalar_t>> x[n], e[n];
    for (; k + n <= classes; k += n) {
      for (int v = 0; v < n; ++v) x[v] = logits[k + v] - shift;
      sums.add(x, e);
      for (int v = 0; v < n; ++v) exps.set(k + v, e[v]);
    }
  };
  if constexpr (std::is_same_v<Computing<scalar_t>, double>) {
    add_columns(std::integral_constant<int, 4>());
    add_columns(std::integral_constant<int, 2>());
  }
  add_columns(std::integral_constant<int, 1>());
  return {shift, sums.excess(), sums.weighted};
}

}  // namespace
}  // namespace amgan::cpu
