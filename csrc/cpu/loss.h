// What the kernels of losses share.
#pragma once

#include <cstdint>

#include "args/labels.h"
#include "cpu/vec.h"
#include "math/softmax.h"

namespace amgan::cpu {
namespace {

// What multiplies the gradients of rows [first, first + rows): scale, times the gradient of each row's result if given.
template <typename T>
Vec<T> upstream(const void* grad_output, int64_t stride, double scale, int64_t first, int64_t rows) {
  if (grad_output == nullptr) return Vec<T>(static_cast<T>(scale));
  T values[Vec<T>::size()] = {};
  for (int64_t lane = 0; lane < rows; ++lane) {
    values[lane] = static_cast<T>(static_cast<const T*>(grad_output)[(first + lane) * stride] * scale);
  }
  return Vec<T>::loadu(values);
}

// What multiplies the losses of rows [first, first + rows), and with them their gradients, if given.
template <typename T>
class RowWeights {
 public:
  RowWeights(const void* weights, int64_t stride, int64_t first, int64_t rows) : given_(weights != nullptr) {
    if (!given_) return;
    T values[Vec<T>::size()] = {};
    for (int64_t lane = 0; lane < rows; ++lane) values[lane] = static_cast<const T*>(weights)[(first + lane) * stride];
    weights_ = Vec<T>::loadu(values);
  }

  // A row of weight 0 has no loss, whatever its value.
  Vec<T> of_loss(const Vec<T>& loss) const { return given_ ? math::or_absent<Vec<T>>(weights_, loss) : loss; }
  Vec<T> of_scale(const Vec<T>& scale) const { return given_ ? scale * weights_ : scale; }

 private:
  const bool given_;
  Vec<T> weights_{T(1)};
};

// The given labels of rows [first, first + rows) as numbers, 0 in lanes without a row. Only for few classes: float ends
// at 2^24.
template <typename T>
Vec<T> given_labels(const Labels& given, int64_t first, int64_t rows) {
  if (rows == Vec<T>::size() && given.stride == 1 && !given.are_int32) {
    // Where there is an instruction for it, without the detour through memory below, which would hold up everything
    // until 16 stores are done.
    return load_integers<T>(static_cast<const int64_t*>(given.data) + first);
  }
  T labels[Vec<T>::size()] = {};
  for (int64_t lane = 0; lane < rows; ++lane) labels[lane] = static_cast<T>(given.at(first + lane));
  return Vec<T>::loadu(labels);
}

}  // namespace
}  // namespace amgan::cpu
