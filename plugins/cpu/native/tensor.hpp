// Tensors: where elements lie, what their bits mean, and how many there are along each axis.
//
// Elements of the two floating dtypes are computed with in float and rounded once, to nearest, ties to even.
// Knows nothing of ops.
#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>

namespace octavo {

enum DType : std::int32_t { kFloat32 = 0, kBFloat16 = 1, kInt32 = 2, kUInt32 = 3, kNumDTypes = 4 };

constexpr int kMaxRank = 4;

// The upper half of a float's bits.
struct BFloat16 {
    std::uint16_t bits;
};

inline float widen(float value) { return value; }

inline float widen(BFloat16 value) {
    const std::uint32_t bits = static_cast<std::uint32_t>(value.bits) << 16;
    float wide;
    std::memcpy(&wide, &bits, sizeof wide);
    return wide;
}

inline void narrow(float value, float& out) { out = value; }

inline void narrow(float value, BFloat16& out) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const bool is_number = value == value;
    const std::uint32_t rounded = bits + 0x7FFFU + ((bits >> 16) & 1U);
    out.bits = is_number ? static_cast<std::uint16_t>(rounded >> 16) : std::uint16_t{0x7FC0};
}

struct Tensor {
    void* data = nullptr;
    std::int32_t dtype = kFloat32;
    std::int32_t rank = 0;
    std::int64_t extent[kMaxRank] = {1, 1, 1, 1};

    // The last axis is a row; a tensor without axes is one row of one element.
    std::int64_t width() const { return rank == 0 ? 1 : extent[rank - 1]; }

    std::int64_t rows() const {
        std::int64_t product = 1;
        for (int axis = 0; axis + 1 < rank; ++axis) product *= extent[axis];
        return product;
    }

    std::int64_t count() const { return rows() * width(); }

    // Elements of one index of the first axis.
    std::int64_t stride() const {
        std::int64_t product = 1;
        for (int axis = 1; axis < rank; ++axis) product *= extent[axis];
        return product;
    }

    std::int64_t itemsize() const { return dtype == kBFloat16 ? 2 : 4; }

    template <typename T>
    T* as() const {
        return static_cast<T*>(data);
    }
};

// Calls `work` with a null pointer of the element type of a floating dtype.
template <typename Work>
void by_float_dtype(std::int32_t dtype, const Work& work) {
    if (dtype == kFloat32) {
        work(static_cast<float*>(nullptr));
    } else if (dtype == kBFloat16) {
        work(static_cast<BFloat16*>(nullptr));
    } else {
        throw std::runtime_error("an op on real numbers was given integers");
    }
}

// Refuses an index that would lead out of memory.
inline void expect_below(std::int64_t index, std::int64_t limit, const char* what) {
    if (index < 0 || index >= limit) {
        throw std::runtime_error(std::string(what) + " " + std::to_string(index) + " is not in [0, " +
                                 std::to_string(limit) + ")");
    }
}

}  // namespace octavo
