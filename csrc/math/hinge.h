// The multi-hinge of a row on K+1 columns: Kavalerov et al., arXiv 1912.04216; Crammer & Singer, JMLR 2, 2001. With l_y
// the logit of the label and l_o that of the runner-up, the largest of the other columns (the first of equal ones),
//
//   loss = max(0, margin + l_o - l_y)      dloss/dl_o = 1 and dloss/dl_y = -1 where that is above 0
//
// Beside the kink the gradient is constant: the second derivative is 0.
#pragma once

#include "math/portable.h"

AMGAN_MATH_BEGIN

// What one pass over the columns of a row leaves.
template <typename T>
struct HingeRow {
  T target;   // l_y
  T other;    // l_o
  T spoiled;  // NaN where a logit of the row is NaN or +inf, else 0
};

// margin + l_o - l_y. NaN where a logit is NaN or +inf, and where all columns are -inf: then so are loss and gradient.
template <typename T>
AMGAN_INLINE T hinge_violation(const HingeRow<T>& row, T margin) {
  return (margin + (row.other - row.target)) + row.spoiled;
}

// NaN stays.
template <typename T>
AMGAN_INLINE T hinge_loss(T violation) {
  return select(less(violation, T(0)), T(0), violation);
}

// dloss/dl_o = weight, dloss/dl_y = -weight, and elsewhere (0 or NaN) at all other columns.
template <typename T>
struct HingeRowGradient {
  T weight, elsewhere;
};

template <typename T>
AMGAN_INLINE HingeRowGradient<T> hinge_gradient(T violation, T grad_output) {
  const T elsewhere = select(equal(violation, violation), T(0), violation);
  return {select(less(T(0), violation), grad_output, elsewhere), elsewhere};
}

AMGAN_MATH_END
