// Choosing tokens: the largest logit, or the largest after noise that a counter and a seed fix to the bit.
//
// Scores are float, because their bits decide; the two logarithms of the noise are double, rounded once.
// Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 4.3, for Philox4x32-10;
// counter and key are as `octavo_platforms.philox` says.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "ops.hpp"

namespace octavo {

namespace {

constexpr std::int64_t kIdsAtOnce = 4096;  // a multiple of four

struct Words {
    std::uint32_t of[4];
};

Words philox(Words counter, std::uint32_t low, std::uint32_t high) {
    std::uint32_t(&c)[4] = counter.of;
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t first = std::uint64_t{c[0]} * 0xD2511F53U;
        const std::uint64_t second = std::uint64_t{c[2]} * 0xCD9E8D57U;
        const std::uint32_t c1 = c[1], c3 = c[3];
        c[0] = static_cast<std::uint32_t>(second >> 32) ^ c1 ^ low;
        c[1] = static_cast<std::uint32_t>(second);
        c[2] = static_cast<std::uint32_t>(first >> 32) ^ c3 ^ high;
        c[3] = static_cast<std::uint32_t>(first);
        low += 0x9E3779B9U;
        high += 0xBB67AE85U;
    }
    return counter;
}

// Strictly between 0 and 1: the largest words would round to 1, whose noise is infinite.
float uniform(std::uint32_t word) {
    const float half = static_cast<float>(word >> 8) + 0.5F;
    return std::min(half * 0x1p-24F, 1.0F - 0x1p-24F);
}

float gumbel(std::uint32_t word) {
    return static_cast<float>(-std::log(-std::log(static_cast<double>(uniform(word)))));
}

struct Best {
    float score = -std::numeric_limits<float>::infinity();
    std::int64_t id = -1;

    // Of equal scores the first one stays; not-a-number wins, and stays too.
    void meet(float other, std::int64_t other_id) {
        if (id < 0 || other > score || std::isnan(other)) {
            score = other;
            id = other_id;
        }
    }
};

// What a seat's three words say.
struct Settings {
    float temperature;
    std::uint32_t low, high;

    explicit Settings(const std::uint32_t* words) : low(words[1]), high(words[2]) {
        std::memcpy(&temperature, words, sizeof temperature);
    }
};

template <typename T>
Best best_of(const T* logits, const Settings& settings, std::uint32_t position, std::int64_t begin, std::int64_t end) {
    Best best;
    if (settings.temperature == 0.0F) {
        for (std::int64_t id = begin; id < end; ++id) best.meet(widen(logits[id]), id);
        return best;
    }
    for (std::int64_t quad = begin; quad < end; quad += 4) {
        const Words counter = {{position, static_cast<std::uint32_t>(quad / 4), 0, 0}};
        const Words words = philox(counter, settings.low, settings.high);
        for (std::int64_t id = quad; id < std::min(quad + 4, end); ++id) {
            best.meet(widen(logits[id]) / settings.temperature + gumbel(words.of[id - quad]), id);
        }
    }
    return best;
}

}  // namespace

void sample(const Call& call) {
    const Tensor &logits = *call.in[0], &settings = *call.in[1];
    const std::int32_t* seats = call.in[2]->as<std::int32_t>();
    const std::int32_t* positions = call.in[3]->as<std::int32_t>();
    const std::int64_t num_rows = logits.extent[0], num_ids = logits.width();
    const std::int64_t parts = (num_ids + kIdsAtOnce - 1) / kIdsAtOnce;
    std::vector<Best> found(static_cast<std::size_t>(num_rows * parts));
    for (std::int64_t row = 0; row < num_rows; ++row) expect_below(seats[row], settings.extent[0], "the seat");
    by_float_dtype(logits.dtype, [&](auto* kind) {
        using T = std::remove_pointer_t<decltype(kind)>;
        call.pool.run(num_rows * parts, 1, [&](std::int64_t begin, std::int64_t end, int) {
            for (std::int64_t item = begin; item < end; ++item) {
                const std::int64_t row = item / parts, first = item % parts * kIdsAtOnce;
                const Settings own(settings.as<std::uint32_t>() + seats[row] * 3);
                const std::uint32_t position = static_cast<std::uint32_t>(positions[row]) + 1U;
                const std::int64_t end_id = std::min(first + kIdsAtOnce, num_ids);
                found[static_cast<std::size_t>(item)] =
                    best_of(logits.as<T>() + row * num_ids, own, position, first, end_id);
            }
        });
    });
    for (std::int64_t row = 0; row < num_rows; ++row) {
        Best best;
        for (std::int64_t part = 0; part < parts; ++part) {
            const Best& other = found[static_cast<std::size_t>(row * parts + part)];
            best.meet(other.score, other.id);
        }
        call.out[0]->as<std::int32_t>()[row] = std::isfinite(best.score) ? static_cast<std::int32_t>(best.id) : -1;
    }
}

}  // namespace octavo
