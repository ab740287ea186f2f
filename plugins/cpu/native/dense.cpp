// Rows of features: linear layers, norms and pointwise functions.
//
// A packed weight holds sixteen outputs side by side, so that one input times one load gives a part of sixteen sums.
// Sums of an output are taken in the order of its inputs, however many rows there are.
#include <algorithm>
#include <cmath>

#include "lanes.hpp"
#include "ops.hpp"

namespace octavo {

namespace {

constexpr std::int64_t kElementsAtOnce = 16384;  // less is not worth waking a thread

struct Product {
    std::int64_t num_rows, n_in, n_out;
};

// Multiplies R rows by sixteen outputs, adds the bias, stores the `width` of them that there are.
template <int R, typename T>
OCTAVO_INLINE void packed_rows(const T* x, const T* weight, const T* bias, T* out, const Product& size, int width) {
    Lanes sums[R] = {};
    for (std::int64_t i = 0; i < size.n_in; ++i) {
        Lanes column;
        load(weight + i * kLanes, column);
        for (int row = 0; row < R; ++row) sums[row] += widen(x[row * size.n_in + i]) * column;
    }
    for (int row = 0; row < R; ++row) {
        for (int lane = 0; lane < width; ++lane) {
            const float shift = bias == nullptr ? 0.0F : widen(bias[lane]);
            narrow(sums[row][lane] + shift, out[row * size.n_out + lane]);
        }
    }
}

// Multiplies the rows from `row` on, R at a time; gives the first that is left over.
template <int R, typename T>
OCTAVO_INLINE std::int64_t packed_runs(std::int64_t row, const T* x, const T* weight, const T* bias, T* out,
                                       const Product& size, int width) {
    for (; row + R <= size.num_rows; row += R) {
        packed_rows<R>(x + row * size.n_in, weight, bias, out + row * size.n_out, size, width);
    }
    return row;
}

template <typename T>
OCTAVO_INLINE void packed_block(const T* x, const T* weight, const T* bias, T* out, const Product& size, int width) {
    std::int64_t row = packed_runs<8>(0, x, weight, bias, out, size, width);
    row = packed_runs<4>(row, x, weight, bias, out, size, width);
    packed_runs<1>(row, x, weight, bias, out, size, width);
}

template <typename T>
OCTAVO_INLINE void packed_blocks(const T* x, const T* weight, const T* bias, T* out, const Product& size,
                                 std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; ++block) {
        const std::int64_t first = block * kLanes;
        const int width = static_cast<int>(std::min<std::int64_t>(kLanes, size.n_out - first));
        const T* shift = bias == nullptr ? nullptr : bias + first;
        packed_block(x, weight + first * size.n_in, shift, out + first, size, width);
    }
}

OCTAVO_CLONES void multiply_packed(const float* x, const float* weight, const float* bias, float* out,
                                   const Product& size, std::int64_t begin, std::int64_t end) {
    packed_blocks(x, weight, bias, out, size, begin, end);
}

OCTAVO_CLONES void multiply_packed(const BFloat16* x, const BFloat16* weight, const BFloat16* bias, BFloat16* out,
                                   const Product& size, std::int64_t begin, std::int64_t end) {
    packed_blocks(x, weight, bias, out, size, begin, end);
}

template <typename T>
OCTAVO_INLINE void plain_outputs(const T* x, const T* weight, const T* bias, T* out, const Product& size,
                                 std::int64_t begin, std::int64_t end) {
    for (std::int64_t output = begin; output < end; ++output) {
        const float shift = bias == nullptr ? 0.0F : widen(bias[output]);
        for (std::int64_t row = 0; row < size.num_rows; ++row) {
            const float product = dot(x + row * size.n_in, weight + output * size.n_in, size.n_in);
            narrow(product + shift, out[row * size.n_out + output]);
        }
    }
}

OCTAVO_CLONES void multiply_plain(const float* x, const float* weight, const float* bias, float* out,
                                  const Product& size, std::int64_t begin, std::int64_t end) {
    plain_outputs(x, weight, bias, out, size, begin, end);
}

OCTAVO_CLONES void multiply_plain(const BFloat16* x, const BFloat16* weight, const BFloat16* bias, BFloat16* out,
                                  const Product& size, std::int64_t begin, std::int64_t end) {
    plain_outputs(x, weight, bias, out, size, begin, end);
}

template <typename T>
OCTAVO_INLINE void norm_row(const T* x, const T* weight, float eps, T* out, std::int64_t width) {
    const float mean_square = dot(x, x, width) / static_cast<float>(width);
    const float scale = 1.0F / std::sqrt(mean_square + eps);
    for (std::int64_t at = 0; at < width; ++at) narrow(widen(x[at]) * scale * widen(weight[at]), out[at]);
}

OCTAVO_CLONES void norm(const float* x, const float* weight, float eps, float* out, std::int64_t width) {
    norm_row(x, weight, eps, out, width);
}

OCTAVO_CLONES void norm(const BFloat16* x, const BFloat16* weight, float eps, BFloat16* out, std::int64_t width) {
    norm_row(x, weight, eps, out, width);
}

Product product_of(const Call& call) {
    return {call.out[0]->rows(), call.in[0]->width(), call.out[0]->width()};
}

// The fewest blocks of `outputs` outputs that are worth a thread.
std::int64_t grain(const Product& size, std::int64_t outputs) {
    const std::int64_t work = std::max<std::int64_t>(1, size.n_in * outputs * size.num_rows);
    return std::max<std::int64_t>(1, kElementsAtOnce / work);
}

float logistic_weighed(float x) { return x / (1.0F + std::exp(-x)); }

template <typename Function>
void pair_by_pair(const Call& call, const Function& function) {
    by_float_dtype(call.out[0]->dtype, [&](auto* kind) {
        using T = std::remove_pointer_t<decltype(kind)>;
        const T *a = call.in[0]->as<T>(), *b = call.in[1]->as<T>();
        T* out = call.out[0]->as<T>();
        const std::int64_t count = call.out[0]->count();
        for (std::int64_t at = 0; at < count; ++at) narrow(function(widen(a[at]), widen(b[at])), out[at]);
    });
}

}  // namespace

void linear(const Call& call) {
    const Product size = product_of(call);
    by_float_dtype(call.out[0]->dtype, [&](auto* kind) {
        using T = std::remove_pointer_t<decltype(kind)>;
        const T* bias = call.num_in > 2 ? call.in[2]->as<T>() : nullptr;
        call.pool.run(size.n_out, grain(size, 1), [&](std::int64_t begin, std::int64_t end, int) {
            multiply_plain(call.in[0]->as<T>(), call.in[1]->as<T>(), bias, call.out[0]->as<T>(), size, begin, end);
        });
    });
}

void linear_packed(const Call& call) {
    const Product size = product_of(call);
    const std::int64_t num_blocks = (size.n_out + kLanes - 1) / kLanes;
    by_float_dtype(call.out[0]->dtype, [&](auto* kind) {
        using T = std::remove_pointer_t<decltype(kind)>;
        const T* bias = call.num_in > 2 ? call.in[2]->as<T>() : nullptr;
        call.pool.run(num_blocks, grain(size, kLanes), [&](std::int64_t begin, std::int64_t end, int) {
            multiply_packed(call.in[0]->as<T>(), call.in[1]->as<T>(), bias, call.out[0]->as<T>(), size, begin, end);
        });
    });
}

void rms_norm(const Call& call) {
    const std::int64_t width = call.in[0]->width(), num_rows = call.in[0]->rows();
    const float eps = static_cast<float>(call.real);
    by_float_dtype(call.out[0]->dtype, [&](auto* kind) {
        using T = std::remove_pointer_t<decltype(kind)>;
        for (std::int64_t row = 0; row < num_rows; ++row) {
            const std::int64_t at = row * width;
            norm(call.in[0]->as<T>() + at, call.in[1]->as<T>(), eps, call.out[0]->as<T>() + at, width);
        }
    });
}

void add_rms_norm(const Call& call) {
    const std::int64_t width = call.in[0]->width(), num_rows = call.in[0]->rows();
    const float eps = static_cast<float>(call.real);
    by_float_dtype(call.out[0]->dtype, [&](auto* kind) {
        using T = std::remove_pointer_t<decltype(kind)>;
        const T *x = call.in[0]->as<T>(), *residual = call.in[1]->as<T>();
        T* total = call.out[1]->as<T>();
        for (std::int64_t row = 0; row < num_rows; ++row) {
            const std::int64_t first = row * width;
            for (std::int64_t at = first; at < first + width; ++at) {
                narrow(widen(x[at]) + widen(residual[at]), total[at]);
            }
            norm(total + first, call.in[2]->as<T>(), eps, call.out[0]->as<T>() + first, width);
        }
    });
}

void add(const Call& call) {
    pair_by_pair(call, [](float a, float b) { return a + b; });
}

void mul(const Call& call) {
    pair_by_pair(call, [](float a, float b) { return a * b; });
}

void silu(const Call& call) {
    by_float_dtype(call.out[0]->dtype, [&](auto* kind) {
        using T = std::remove_pointer_t<decltype(kind)>;
        const std::int64_t count = call.out[0]->count();
        for (std::int64_t at = 0; at < count; ++at) {
            narrow(logistic_weighed(widen(call.in[0]->as<T>()[at])), call.out[0]->as<T>()[at]);
        }
    });
}

void silu_gate(const Call& call) {
    const std::int64_t width = call.out[0]->width(), num_rows = call.out[0]->rows();
    by_float_dtype(call.out[0]->dtype, [&](auto* kind) {
        using T = std::remove_pointer_t<decltype(kind)>;
        const std::int64_t least = std::max<std::int64_t>(1, kElementsAtOnce / 16);
        call.pool.run(num_rows * width, least, [&](std::int64_t begin, std::int64_t end, int) {
            for (std::int64_t at = begin; at < end; ++at) {
                const T* gate = call.in[0]->as<T>() + (at / width) * 2 * width + at % width;
                T active;
                narrow(logistic_weighed(widen(gate[0])), active);
                narrow(widen(active) * widen(gate[width]), call.out[0]->as<T>()[at]);
            }
        });
    });
}

void cast(const Call& call) {
    by_float_dtype(call.in[0]->dtype, [&](auto* from) {
        by_float_dtype(call.out[0]->dtype, [&](auto* to) {
            using From = std::remove_pointer_t<decltype(from)>;
            using To = std::remove_pointer_t<decltype(to)>;
            const std::int64_t count = call.out[0]->count();
            for (std::int64_t at = 0; at < count; ++at) {
                narrow(widen(call.in[0]->as<From>()[at]), call.out[0]->as<To>()[at]);
            }
        });
    });
}

}  // namespace octavo
