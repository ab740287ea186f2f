// The ops: each a function from the tensors of one instruction. What an op means stands in the contract's catalogue.
//
// Shapes are as the catalogue says, but for: a packed weight, [O/16, I, 16]; planes of a state, [B, K, P, D].
// An index that would lead out of memory throws; sizes were checked when the entry was made.
#pragma once

#include <string>

#include "pool.hpp"
#include "tensor.hpp"

namespace octavo {

// One instruction, with its tensors at this launch.
struct Call {
    const Tensor* const* in;
    const Tensor* const* out;
    int num_in;
    int num_out;
    double real;           // eps, factor or scale
    std::int64_t integer;  // block size, window (0: none), or whether pairs are interleaved
    Pool& pool;
};

using Run = void (*)(const Call&);

struct Op {
    const char* name;
    Run run;
    int num_in;  // the fewest inputs that it takes
};

// dense.cpp
void linear(const Call& call);
void linear_packed(const Call& call);
void rms_norm(const Call& call);
void add_rms_norm(const Call& call);
void add(const Call& call);
void mul(const Call& call);
void silu(const Call& call);
void silu_gate(const Call& call);
void cast(const Call& call);

// rope.cpp
void rope_table(const Call& call);
void rotary(const Call& call);
void rotary_kv_write(const Call& call);

// rows.cpp
void copy(const Call& call);
void gather_rows(const Call& call);
void scatter_rows(const Call& call);
void split(const Call& call);
void positions(const Call& call);
void owners(const Call& call);
void pick(const Call& call);
void slots(const Call& call);

// attention.cpp
void kv_write(const Call& call);
void kv_read(const Call& call);
void attention(const Call& call);

// choice.cpp
void sample(const Call& call);

// A place in the planes of a state: the first element of a slot's head.
inline std::int64_t plane_index(const Tensor& plane, std::int64_t slot, std::int64_t head) {
    const std::int64_t heads = plane.extent[1], block_size = plane.extent[2], width = plane.extent[3];
    const std::int64_t block = slot / block_size, within = slot % block_size;
    return ((block * heads + head) * block_size + within) * width;
}

inline std::int64_t num_slots(const Tensor& plane) { return plane.extent[0] * plane.extent[2]; }

// Turns the first features of a head by one row of angles.
template <typename T>
void turn(const T* x, const float* angles, std::int64_t turned, std::int64_t width, bool interleaved, T* out) {
    const std::int64_t half = turned / 2;
    for (std::int64_t pair = 0; pair < half; ++pair) {
        const std::int64_t first = interleaved ? 2 * pair : pair;
        const std::int64_t second = interleaved ? 2 * pair + 1 : pair + half;
        const float cosine = angles[pair], sine = angles[half + pair];
        const float a = widen(x[first]), b = widen(x[second]);
        narrow(a * cosine - b * sine, out[first]);
        narrow(b * cosine + a * sine, out[second]);
    }
    for (std::int64_t at = turned; at < width; ++at) out[at] = x[at];
}

}  // namespace octavo
