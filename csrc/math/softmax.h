// What one pass over the logits of a row leaves of their exponentials, in logits shifted by their maximum.
//
// The largest term of sum exp(l_k - max) is 1. Where the others are small, 1 + them has forgotten them: log s of a
// nearly certain row then keeps no digit. So they are summed for themselves as well.
#pragma once

#include "math/portable.h"

AMGAN_MATH_BEGIN

// s - 1, from the sum of all exponentials and the sum of those below 1. With s < 2 exactly one of them is 1; with all
// logits -inf none is, and s = 0.
template <typename T>
AMGAN_INLINE T sum_less_one(const T& sum, const T& below_one) {
  return select(less(sum, T(1)), T(-1), select(less(sum, T(2)), below_one, sum - T(1)));
}

// What the same pass leaves of numbers v_k that come with the logits, for derivatives along v. They are counted from
// the one at the largest logit, u_k = v_k - origin, which leaves the other probabilities alone in the sums: so a nearly
// certain row loses no digit. The gradient of a row over all of its classes sums to a constant, so nothing else
// changes.
template <typename T>
struct RowAlong {
  T origin;    // v at the largest logit
  T sum;       // sum_k u_k
  T weighted;  // sum_k u_k exp(l_k - max)
  T crossed;   // sum_k u_k (l_k - max) exp(l_k - max), a logit of -inf counting 0
};

// A term with coefficient 0 is absent, whatever its value.
template <typename T>
AMGAN_INLINE T or_absent(T c, T term) {
  return select(equal(c, T(0)), T(0), c * term);
}

AMGAN_MATH_END
