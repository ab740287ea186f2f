// Sixteen floats at once: what the inner loops of products are made of.
//
// The compiler turns a `Lanes` into the widest registers of the function it stands in; `OCTAVO_CLONES` has it make a
// function once for each width and choose when the library is loaded. Everything here is inlined into such a function.
#pragma once

#include "tensor.hpp"

#if defined(__x86_64__) && defined(__GLIBC__) && !defined(OCTAVO_SANITIZED)
#define OCTAVO_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define OCTAVO_CLONES
#endif
#define OCTAVO_INLINE inline __attribute__((always_inline))

namespace octavo {

constexpr int kLanes = 16;

typedef float Lanes __attribute__((vector_size(64)));
typedef std::uint32_t LaneWords __attribute__((vector_size(64)));
typedef std::uint16_t LaneHalves __attribute__((vector_size(32)));

OCTAVO_INLINE void load(const float* from, Lanes& lanes) { std::memcpy(&lanes, from, sizeof lanes); }

OCTAVO_INLINE void load(const BFloat16* from, Lanes& lanes) {
    LaneHalves halves;
    std::memcpy(&halves, from, sizeof halves);
    const LaneWords words = __builtin_convertvector(halves, LaneWords) << 16;
    std::memcpy(&lanes, &words, sizeof lanes);
}

// Multiplies two rows: lane by lane, then the lanes in order, then what is left over.
template <typename A, typename B>
OCTAVO_INLINE float dot(const A* a, const B* b, std::int64_t count) {
    Lanes sums = {};
    std::int64_t at = 0;
    for (; at + kLanes <= count; at += kLanes) {
        Lanes x, y;
        load(a + at, x);
        load(b + at, y);
        sums += x * y;
    }
    float total = 0.0F;
    for (int lane = 0; lane < kLanes; ++lane) total += sums[lane];
    for (; at < count; ++at) total += widen(a[at]) * widen(b[at]);
    return total;
}

// Adds `weight` times a row to sums.
template <typename T>
OCTAVO_INLINE void add_scaled(float weight, const T* row, float* sums, std::int64_t count) {
    std::int64_t at = 0;
    for (; at + kLanes <= count; at += kLanes) {
        Lanes x, total;
        load(row + at, x);
        load(sums + at, total);
        total += weight * x;
        std::memcpy(sums + at, &total, sizeof total);
    }
    for (; at < count; ++at) sums[at] += weight * widen(row[at]);
}

}  // namespace octavo
