// Paged states: writing keys and values, reading them back, attending to them.
//
// One item of work is one head of one token. Its scores are taken one position after the other, so that neither the
// batch nor the number of threads changes a bit.
#include <cmath>
#include <limits>
#include <vector>

#include "lanes.hpp"
#include "ops.hpp"

namespace octavo {

namespace {

// What one head of one token attends to, and room to do it in.
template <typename T>
struct Head {
    const T* query;
    const T* keys;
    const T* values;
    const std::int32_t* blocks;
    std::int64_t first, seen;  // positions first to seen - 1
    std::int64_t block_size, width;
    std::int64_t block_stride;  // elements from a block to the next
    float scale;
    float* scores;  // [seen]
    float* sums;    // [width]
    T* out;
};

template <typename T>
OCTAVO_INLINE void attend_head(const Head<T>& head) {
    float largest = -std::numeric_limits<float>::infinity();
    for (std::int64_t at = head.first; at < head.seen; ++at) {
        const std::int64_t block = head.blocks[at / head.block_size], within = at % head.block_size;
        const T* key = head.keys + block * head.block_stride + within * head.width;
        head.scores[at] = dot(head.query, key, head.width) * head.scale;
        largest = head.scores[at] > largest ? head.scores[at] : largest;
    }
    for (std::int64_t at = 0; at < head.width; ++at) head.sums[at] = 0.0F;
    float total = 0.0F;
    for (std::int64_t at = head.first; at < head.seen; ++at) {
        const std::int64_t block = head.blocks[at / head.block_size], within = at % head.block_size;
        const T* value = head.values + block * head.block_stride + within * head.width;
        const float weight = std::exp(head.scores[at] - largest);
        total += weight;
        add_scaled(weight, value, head.sums, head.width);
    }
    const float share = head.seen == 0 ? 0.0F : 1.0F / total;
    for (std::int64_t at = 0; at < head.width; ++at) narrow(head.sums[at] * share, head.out[at]);
}

OCTAVO_CLONES void attend(const Head<float>& head) { attend_head(head); }

OCTAVO_CLONES void attend(const Head<BFloat16>& head) { attend_head(head); }

// The first of `seen` positions that a window reaches, which is not there where it is 0.
std::int64_t first_seen(std::int64_t seen, std::int64_t window) {
    return window == 0 || seen < window ? 0 : seen - window;
}

// Each token's request and where what it sees ends; tokens past the last request's see nothing.
struct Seen {
    std::vector<std::int64_t> request, positions;
    std::int64_t most = 0;
};

Seen seen_by_token(std::int64_t num_tokens, const Tensor& starts, const Tensor& computed, const Tensor& table,
                   const Tensor& plane, std::int64_t window) {
    Seen seen;
    seen.request.assign(static_cast<std::size_t>(num_tokens), 0);
    seen.positions.assign(static_cast<std::size_t>(num_tokens), 0);
    for (std::int64_t request = 0; request < computed.count(); ++request) {
        const std::int64_t first = starts.as<std::int32_t>()[request], stop = starts.as<std::int32_t>()[request + 1];
        if (first == stop) continue;
        const std::int64_t before = computed.as<std::int32_t>()[request], context = before + stop - first;
        expect_below((context - 1) / plane.extent[2], table.extent[1], "the block of a table");
        const std::int64_t first_block = first_seen(before + 1, window) / plane.extent[2];
        for (std::int64_t block = first_block; block * plane.extent[2] < context; ++block) {
            expect_below(table.as<std::int32_t>()[request * table.extent[1] + block], plane.extent[0], "the block");
        }
        for (std::int64_t token = first; token < stop; ++token) {
            expect_below(token, num_tokens, "the token");
            seen.request[static_cast<std::size_t>(token)] = request;
            seen.positions[static_cast<std::size_t>(token)] = before + token - first + 1;
        }
        seen.most = context > seen.most ? context : seen.most;
    }
    return seen;
}

template <typename Move>
void each_slot(const Tensor& rows, const Tensor& slots, const Tensor& plane, const Move& move) {
    for (std::int64_t token = 0; token < rows.extent[0]; ++token) {
        const std::int64_t slot = slots.as<std::int32_t>()[token];
        expect_below(slot, num_slots(plane), "the slot");
        for (std::int64_t head = 0; head < rows.extent[1]; ++head) {
            const std::int64_t row = (token * rows.extent[1] + head) * rows.width();
            move(row * plane.itemsize(), plane_index(plane, slot, head) * plane.itemsize());
        }
    }
}

}  // namespace

void kv_write(const Call& call) {
    for (int plane = 0; plane < 2; ++plane) {
        const Tensor &rows = *call.in[plane], &held = *call.in[3 + plane];
        const std::size_t bytes = static_cast<std::size_t>(rows.width() * rows.itemsize());
        each_slot(rows, *call.in[2], held, [&](std::int64_t row, std::int64_t at) {
            std::memcpy(held.as<char>() + at, rows.as<char>() + row, bytes);
        });
    }
}

void kv_read(const Call& call) {
    for (int plane = 0; plane < 2; ++plane) {
        const Tensor &rows = *call.out[plane], &held = *call.in[1 + plane];
        const std::size_t bytes = static_cast<std::size_t>(rows.width() * rows.itemsize());
        each_slot(rows, *call.in[0], held, [&](std::int64_t row, std::int64_t at) {
            std::memcpy(rows.as<char>() + row, held.as<char>() + at, bytes);
        });
    }
}

void attention(const Call& call) {
    const Tensor &q = *call.in[0], &table = *call.in[3], &keys = *call.in[4], &values = *call.in[5];
    const std::int64_t num_tokens = q.extent[0], num_heads = q.extent[1], width = q.width();
    const std::int64_t kv_heads = keys.extent[1], block_size = keys.extent[2];
    const Seen seen = seen_by_token(num_tokens, *call.in[1], *call.in[2], table, keys, call.integer);
    const std::int64_t room = seen.most + width;
    std::vector<float> rooms(static_cast<std::size_t>(room * call.pool.num_threads()));
    by_float_dtype(q.dtype, [&](auto* kind) {
        using T = std::remove_pointer_t<decltype(kind)>;
        const auto work = [&](std::int64_t begin, std::int64_t end, int thread) {
            for (std::int64_t item = begin; item < end; ++item) {
                const std::int64_t token = item / num_heads, head = item % num_heads;
                const std::int64_t request = seen.request[static_cast<std::size_t>(token)];
                const std::int64_t first = head * kv_heads / num_heads * block_size * width;
                Head<T> one;
                one.query = q.as<T>() + item * width;
                one.keys = keys.as<T>() + first;
                one.values = values.as<T>() + first;
                one.blocks = table.as<std::int32_t>() + request * table.extent[1];
                one.seen = seen.positions[static_cast<std::size_t>(token)];
                one.first = first_seen(one.seen, call.integer);
                one.block_size = block_size;
                one.width = width;
                one.block_stride = kv_heads * block_size * width;
                one.scale = static_cast<float>(call.real);
                one.scores = rooms.data() + thread * room;
                one.sums = one.scores + seen.most;
                one.out = call.out[0]->as<T>() + item * width;
                attend(one);
            }
        };
        const std::int64_t least = 1 + 16384 / (1 + seen.most * width);
        call.pool.run(num_tokens * num_heads, least, work);
    });
}

}  // namespace octavo
