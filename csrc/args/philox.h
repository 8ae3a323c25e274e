// Which random bits a call gets: the key of math/philox.h and how far into its sequence, by value or from memory.
#pragma once

#include <cstdint>

#include "math/portable.h"

namespace amgan {

struct PhiloxArgs {
  uint64_t seed;
  uint64_t offset;           // in words, a multiple of 4
  const int64_t* seed_at;    // null, or where to find the seed instead
  const int64_t* offset_at;  // null, or where to find what `offset` is added to
  int64_t* used;             // null, or [2]: receives seed and offset

  AMGAN_INLINE uint64_t key() const { return seed_at == nullptr ? seed : static_cast<uint64_t>(*seed_at); }
  AMGAN_INLINE uint64_t first_word() const {
    return offset + (offset_at == nullptr ? 0 : static_cast<uint64_t>(*offset_at));
  }
};

}  // namespace amgan
