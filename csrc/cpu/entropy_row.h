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
  for (int64_t k = 0; k < classes; ++k) exps.set(k, sums.add(logits[k] - shift));
  return {shift, sums.excess(), sums.weighted};
}

}  // namespace
}  // namespace amgan::cpu
