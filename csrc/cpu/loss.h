// What the kernels of losses share.
#pragma once

#include <cstdint>

#include "cpu/vec.h"

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

// What the losses of rows [first, first + rows) are multiplied by, 0 in lanes without a row.
template <typename T>
Vec<T> row_weights(const void* weights, int64_t stride, int64_t first, int64_t rows) {
  T values[Vec<T>::size()] = {};
  for (int64_t lane = 0; lane < rows; ++lane) values[lane] = static_cast<const T*>(weights)[(first + lane) * stride];
  return Vec<T>::loadu(values);
}

}  // namespace
}  // namespace amgan::cpu
