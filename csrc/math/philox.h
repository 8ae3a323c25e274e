// Philox 4x32 with 10 rounds (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011), which is cuRAND's
// and torch's generator on CUDA: 128 random bits as a function of a counter and a key. Whoever knows both gets the same
// bits again, in any order and on any device.
#pragma once

#include "math/portable.h"

AMGAN_MATH_BEGIN

// What a word of 32 bits can do; csrc/cpu/philox.h has the same for a vector of words.
AMGAN_INLINE uint64_t multiply(uint32_t word, uint32_t by) {
  return uint64_t{word} * by;
}
AMGAN_INLINE uint32_t high(uint64_t product) {
  return static_cast<uint32_t>(product >> 32);
}
AMGAN_INLINE uint32_t low(uint64_t product) {
  return static_cast<uint32_t>(product);
}
AMGAN_INLINE uint32_t exclusive_or(uint32_t a, uint32_t b, uint32_t c) {
  return a ^ b ^ c;
}

template <typename Word>
struct PhiloxBlock {
  Word words[4];
};

template <typename Word>
AMGAN_INLINE PhiloxBlock<Word> philox(PhiloxBlock<Word> counter, uint64_t key) {
  Word(&c)[4] = counter.words;
  uint32_t key0 = low(key), key1 = high(key);
  for (int round = 0; round < 10; ++round) {
    const auto first = multiply(c[0], 0xD2511F53u), second = multiply(c[2], 0xCD9E8D57u);
    c[0] = exclusive_or(high(second), c[1], key0);
    c[1] = low(second);
    c[2] = exclusive_or(high(first), c[3], key1);
    c[3] = low(first);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

AMGAN_MATH_END
