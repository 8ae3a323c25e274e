// The random bits of dropout for the elements of a stretch of memory (args/leaky_dropout.h).
#pragma once

#include "args/philox.h"
#include "cpu/philox.h"
#include "math/leaky_dropout.h"

namespace amgan::cpu {
namespace {

// Elements whose random bits wait in L1 for them.
constexpr int64_t kStretch = 8 * math::kRegion;

// The 16 bits of each element of a stretch.
class StretchBits {
 public:
  // Of n elements from the first on. Meanwhile ahead(k, count) is called for all elements of the regions they are in.
  template <typename Ahead>
  void fill(uint64_t key, uint64_t counter, int64_t first, int64_t n, const Ahead& ahead) {
    using math::kBlockRun, math::kRegion, math::kRegionBlocks;
    for (int64_t region = 0; region < n; region += kRegion) {
      const uint64_t index = static_cast<uint64_t>((first + region) / kRegion * kRegionBlocks);
      for (int64_t block = 0; block < kRegionBlocks; block += kPhiloxLanes) {
        constexpr int64_t each = kPhiloxLanes * kRegion / kRegionBlocks;
        ahead(region + block * kRegion / kRegionBlocks, each);
        uint16_t* bits = bits_ + region + block * kBlockRun;
        philox_bits(key, counter, index + static_cast<uint64_t>(block), bits, bits + kRegion / 2);
      }
    }
  }

  // Those of the elements from k on; there is something to read for a vector past the end.
  const uint16_t* at(int64_t k) const { return bits_ + k; }

 private:
  alignas(64) uint16_t bits_[kStretch + 64] = {};
};

// Tells which state of the generator the bits are of, where that is asked for.
inline void tell_used(const PhiloxArgs& philox) {
  if (philox.used == nullptr) return;
  philox.used[0] = static_cast<int64_t>(philox.key());
  philox.used[1] = static_cast<int64_t>(philox.first_word());
}

}  // namespace
}  // namespace amgan::cpu
