// Philox for as many counters as a vector has lanes of 64 bits.
#pragma once

#include <cstdint>

#include "math/philox.h"

#if defined(CPU_CAPABILITY_AVX2) || defined(CPU_CAPABILITY_AVX512)
#include <immintrin.h>
#endif

namespace amgan::cpu {
namespace {

// A word a lane, in its lower half; the upper half is anything. So the product of two words fits into a lane, and is
// its own lower word.
#if defined(CPU_CAPABILITY_AVX512)

struct Words {
  __m512i lanes;
};

constexpr int64_t kPhiloxLanes = 8;

inline Words broadcast(uint64_t value) {
  return {_mm512_set1_epi64(static_cast<int64_t>(value))};
}
inline Words multiply(const Words& words, uint32_t by) {
  return {_mm512_mul_epu32(words.lanes, broadcast(by).lanes)};
}
// By a shuffle: shifts share their port with the products.
inline Words high(const Words& product) {
  return {_mm512_shuffle_epi32(product.lanes, _MM_PERM_DDBB)};
}
inline Words exclusive_or(const Words& a, const Words& b, uint32_t c) {
  return {_mm512_ternarylogic_epi64(a.lanes, b.lanes, broadcast(c).lanes, 0x96)};
}
// first, first + 1, ... in the order in which store() puts lanes.
inline Words count_from(uint64_t first) {
  return {_mm512_add_epi64(broadcast(first).lanes, _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7))};
}
inline void store(const math::PhiloxBlock<Words>& blocks, uint16_t* bits) {
  const auto pair = [](const Words& low, const Words& high) {
    return _mm512_mask_blend_epi32(0xAAAA, low.lanes, _mm512_slli_epi64(high.lanes, 32));
  };
  const __m512i first = pair(blocks.words[0], blocks.words[1]), second = pair(blocks.words[2], blocks.words[3]);
  _mm512_storeu_si512(bits, _mm512_unpacklo_epi64(first, second));
  _mm512_storeu_si512(bits + 32, _mm512_unpackhi_epi64(first, second));
}

#elif defined(CPU_CAPABILITY_AVX2)

struct Words {
  __m256i lanes;
};

constexpr int64_t kPhiloxLanes = 4;

inline Words broadcast(uint64_t value) {
  return {_mm256_set1_epi64x(static_cast<int64_t>(value))};
}
inline Words multiply(const Words& words, uint32_t by) {
  return {_mm256_mul_epu32(words.lanes, broadcast(by).lanes)};
}
inline Words high(const Words& product) {
  return {_mm256_shuffle_epi32(product.lanes, 0xF5)};
}
inline Words exclusive_or(const Words& a, const Words& b, uint32_t c) {
  return {_mm256_xor_si256(_mm256_xor_si256(a.lanes, b.lanes), broadcast(c).lanes)};
}
inline Words count_from(uint64_t first) {
  return {_mm256_add_epi64(broadcast(first).lanes, _mm256_setr_epi64x(0, 2, 1, 3))};
}
inline void store(const math::PhiloxBlock<Words>& blocks, uint16_t* bits) {
  const auto pair = [](const Words& low, const Words& high) {
    return _mm256_blend_epi32(low.lanes, _mm256_slli_epi64(high.lanes, 32), 0xAA);
  };
  const __m256i first = pair(blocks.words[0], blocks.words[1]), second = pair(blocks.words[2], blocks.words[3]);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(bits), _mm256_unpacklo_epi64(first, second));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(bits + 16), _mm256_unpackhi_epi64(first, second));
}

#else

struct Words {
  uint64_t lanes;
};

constexpr int64_t kPhiloxLanes = 1;

inline Words broadcast(uint64_t value) {
  return {value};
}
inline Words multiply(const Words& words, uint32_t by) {
  return {(words.lanes & 0xffffffffu) * by};
}
inline Words high(const Words& product) {
  return {product.lanes >> 32};
}
inline Words exclusive_or(const Words& a, const Words& b, uint32_t c) {
  return {a.lanes ^ b.lanes ^ c};
}
inline Words count_from(uint64_t first) {
  return {first};
}
inline void store(const math::PhiloxBlock<Words>& blocks, uint16_t* bits) {
  for (int i = 0; i < 8; ++i) bits[i] = static_cast<uint16_t>(blocks.words[i / 2].lanes >> (16 * (i % 2)));
}

#endif

inline Words low(const Words& product) {
  return product;
}

// The 16-bit numbers of the Philox blocks (counter, first), (counter, first + 1), ...: kPhiloxLanes blocks, 8 numbers
// each.
inline void philox_bits(uint64_t key, uint64_t counter, uint64_t first, uint16_t* bits) {
  const Words index = count_from(first);
  store(math::philox<Words>({broadcast(counter), broadcast(counter >> 32), index, high(index)}, key), bits);
}

}  // namespace
}  // namespace amgan::cpu
