// Philox for several counters at a time, and its random bits 16 at a time.
//
// In a vector a word takes a lane of 64 bits, in whose upper half there may be anything: so the product of two words
// fits into a lane, and is its own lower word.
#pragma once

#include <cstdint>

#include "math/philox.h"

#if defined(CPU_CAPABILITY_AVX2) || defined(CPU_CAPABILITY_AVX512)
#include <immintrin.h>
#endif

namespace amgan::cpu {
namespace {

#if defined(CPU_CAPABILITY_AVX512)

constexpr int kPhiloxLanes = 8;

struct Words {
  __m512i lanes;
};

inline Words broadcast(uint64_t value) {
  return {_mm512_set1_epi64(static_cast<int64_t>(value))};
}
inline Words count_from(uint64_t first) {
  return {_mm512_add_epi64(broadcast(first).lanes, _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7))};
}
// By a shuffle: shifts share their port with products.
inline Words upper_half(const Words& words) {
  return {_mm512_shuffle_epi32(words.lanes, _MM_PERM_DDBB)};
}
inline Words low_product(const Words& words, uint32_t by) {
  return {_mm512_mul_epu32(words.lanes, broadcast(by).lanes)};
}
inline Words exclusive_or(const Words& a, const Words& b, uint32_t c) {
  return {_mm512_ternarylogic_epi64(a.lanes, b.lanes, broadcast(c).lanes, 0x96)};
}
// The two words of each lane side by side.
inline void store_pairs(const Words& first, const Words& second, uint16_t* bits) {
  _mm512_storeu_si512(bits, _mm512_mask_blend_epi32(0xAAAA, first.lanes, _mm512_slli_epi64(second.lanes, 32)));
}

#elif defined(CPU_CAPABILITY_AVX2)

constexpr int kPhiloxLanes = 4;

struct Words {
  __m256i lanes;
};

inline Words broadcast(uint64_t value) {
  return {_mm256_set1_epi64x(static_cast<int64_t>(value))};
}
inline Words count_from(uint64_t first) {
  return {_mm256_add_epi64(broadcast(first).lanes, _mm256_setr_epi64x(0, 1, 2, 3))};
}
inline Words upper_half(const Words& words) {
  return {_mm256_shuffle_epi32(words.lanes, 0xF5)};
}
inline Words low_product(const Words& words, uint32_t by) {
  return {_mm256_mul_epu32(words.lanes, broadcast(by).lanes)};
}
inline Words exclusive_or(const Words& a, const Words& b, uint32_t c) {
  return {_mm256_xor_si256(_mm256_xor_si256(a.lanes, b.lanes), broadcast(c).lanes)};
}
inline void store_pairs(const Words& first, const Words& second, uint16_t* bits) {
  const __m256i pairs = _mm256_blend_epi32(first.lanes, _mm256_slli_epi64(second.lanes, 32), 0xAA);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(bits), pairs);
}

#else

constexpr int kPhiloxLanes = 1;

using Words = uint32_t;

inline math::PhiloxBlock<Words> counters(uint64_t low, uint64_t first) {
  return {math::low_word(low), math::high_word(low), math::low_word(first), math::high_word(first)};
}
inline void store_pairs(Words first, Words second, uint16_t* bits) {
  for (int i = 0; i < 2; ++i) {
    bits[i] = static_cast<uint16_t>(first >> (16 * i));
    bits[2 + i] = static_cast<uint16_t>(second >> (16 * i));
  }
}

#endif

#if defined(CPU_CAPABILITY_AVX2) || defined(CPU_CAPABILITY_AVX512)
inline Words high_product(const Words& words, uint32_t by) {
  return upper_half(low_product(words, by));
}
inline math::PhiloxBlock<Words> counters(uint64_t low, uint64_t first) {
  const Words high = count_from(first);
  return {broadcast(low), broadcast(math::high_word(low)), high, upper_half(high)};
}
#endif

// Of the blocks with counters (low, first), (low, first + 1), ..., kPhiloxLanes of them: the bits of words 0 and 1 of
// each in turn, four times 16 a block, to `bits_01`, those of words 2 and 3 to `bits_23`.
inline void philox_bits(uint64_t key, uint64_t low, uint64_t first, uint16_t* bits_01, uint16_t* bits_23) {
  const auto random = math::philox<Words>(counters(low, first), key);
  store_pairs(random.words[0], random.words[1], bits_01);
  store_pairs(random.words[2], random.words[3], bits_23);
}

}  // namespace
}  // namespace amgan::cpu
