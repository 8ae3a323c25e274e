// Labels of rows, as kernels are given them.
#pragma once

#include <cstdint>

#include "math/portable.h"

namespace amgan {

struct Labels {
  const void* data;  // [rows] int64 or int32 in min..max; null: there are none
  int64_t stride;
  int32_t are_int32;
  int32_t min;  // 0, or -1 where a row may have no label
  int32_t max;  // classes - 1, or classes where the generated class may be named

  AMGAN_INLINE bool given() const { return data != nullptr; }

  // Where `data` is memory that the caller can read.
  AMGAN_INLINE int64_t at(int64_t row) const {
    const int64_t i = row * stride;
    return are_int32 ? static_cast<const int32_t*>(data)[i] : static_cast<const int64_t*>(data)[i];
  }
};

}  // namespace amgan
