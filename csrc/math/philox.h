// Philox 4x32 with 10 rounds (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011), which is cuRAND's
// and torch's generator on CUDA: 128 random bits as a function of a counter and a key. Whoever knows both gets the same
// bits again, in any order and on any device.
#pragma once

#include "math/portable.h"

AMGAN_MATH_BEGIN

AMGAN_INLINE uint32_t low_word(uint64_t number) {
  return static_cast<uint32_t>(number);
}
AMGAN_INLINE uint32_t high_word(uint64_t number) {
  return static_cast<uint32_t>(number >> 32);
}

// What a word of 32 bits can do; csrc/cpu/philox.h has the same for a vector of words.
AMGAN_INLINE uint32_t low_product(uint32_t word, uint32_t by) {
  return word * by;
}
AMGAN_INLINE uint32_t high_product(uint32_t word, uint32_t by) {
#if defined(__CUDA_ARCH__)
  return __umulhi(word, by);  // or nvcc takes an instruction more for every product
#else
  return high_word(uint64_t{word} * by);
#endif
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
  constexpr uint32_t first = 0xD2511F53u, second = 0xCD9E8D57u;
  uint32_t key0 = low_word(key), key1 = high_word(key);
  for (int round = 0; round < 10; ++round) {
    const Word(&c)[4] = counter.words;
    counter = {exclusive_or(high_product(c[2], second), c[1], key0), low_product(c[2], second),
               exclusive_or(high_product(c[0], first), c[3], key1), low_product(c[0], first)};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

AMGAN_MATH_END
