// Rotary positions: a table of angles, and turning heads by it.
//
// An angle is the float product of a position and a frequency, rounded once; its cosine and sine are taken in double.
#include <cmath>

#include "ops.hpp"

namespace octavo {

void rope_table(const Call& call) {
    const std::int64_t num_tokens = call.in[0]->count(), half = call.in[1]->count();
    const std::int32_t* positions = call.in[0]->as<std::int32_t>();
    const float* frequencies = call.in[1]->as<float>();
    for (std::int64_t token = 0; token < num_tokens; ++token) {
        float* row = call.out[0]->as<float>() + token * 2 * half;
        for (std::int64_t pair = 0; pair < half; ++pair) {
            const float angle = static_cast<float>(positions[token]) * frequencies[pair];
            const double wide = static_cast<double>(angle);
            row[pair] = static_cast<float>(std::cos(wide) * call.real);
            row[half + pair] = static_cast<float>(std::sin(wide) * call.real);
        }
    }
}

namespace {

// Turns x [T, H, D] by table [T, D'].
void turn_all(const Tensor& x, const Tensor& table, bool interleaved, const Tensor& out) {
    const std::int64_t num_heads = x.extent[1], width = x.width();
    by_float_dtype(x.dtype, [&](auto* kind) {
        using T = std::remove_pointer_t<decltype(kind)>;
        for (std::int64_t token = 0; token < x.extent[0]; ++token) {
            const float* angles = table.as<float>() + token * table.width();
            for (std::int64_t head = 0; head < num_heads; ++head) {
                const std::int64_t at = (token * num_heads + head) * width;
                turn(x.as<T>() + at, angles, table.width(), width, interleaved, out.as<T>() + at);
            }
        }
    });
}

}  // namespace

void rotary(const Call& call) { turn_all(*call.in[0], *call.in[1], call.integer != 0, *call.out[0]); }

void rotary_kv_write(const Call& call) {
    const Tensor &k = *call.in[1], &v = *call.in[2], &table = *call.in[3], &keys = *call.in[5], &values = *call.in[6];
    const std::int32_t* slots = call.in[4]->as<std::int32_t>();
    const bool interleaved = call.integer != 0;
    turn_all(*call.in[0], table, interleaved, *call.out[0]);
    const std::int64_t num_heads = k.extent[1], width = k.width();
    by_float_dtype(k.dtype, [&](auto* kind) {
        using T = std::remove_pointer_t<decltype(kind)>;
        for (std::int64_t token = 0; token < k.extent[0]; ++token) {
            expect_below(slots[token], num_slots(keys), "the slot");
            const float* angles = table.as<float>() + token * table.width();
            for (std::int64_t head = 0; head < num_heads; ++head) {
                const std::int64_t from = (token * num_heads + head) * width;
                const std::int64_t to = plane_index(keys, slots[token], head);
                turn(k.as<T>() + from, angles, table.width(), width, interleaved, keys.as<T>() + to);
                std::memcpy(values.as<T>() + to, v.as<T>() + from, static_cast<std::size_t>(width) * sizeof(T));
            }
        }
    });
}

}  // namespace octavo
