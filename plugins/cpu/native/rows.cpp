// Rows and counters: embeddings, gathers, and what a step's causes imply. These ops move bytes and count.
#include <algorithm>

#include "ops.hpp"

namespace octavo {

namespace {

void copy_bytes(void* to, const void* from, std::int64_t count) {
    if (count > 0) std::memcpy(to, from, static_cast<std::size_t>(count));
}

}  // namespace

void copy(const Call& call) {
    copy_bytes(call.out[0]->data, call.in[0]->data, call.out[0]->count() * call.out[0]->itemsize());
}

// An embedding is a gather whose rows are token ids.
void gather_rows(const Call& call) {
    const Tensor &from = *call.in[0], &rows = *call.in[1];
    const std::int64_t bytes = from.stride() * from.itemsize();
    for (std::int64_t at = 0; at < rows.count(); ++at) {
        const std::int64_t row = rows.as<std::int32_t>()[at];
        expect_below(row, from.extent[0], "the row");
        copy_bytes(call.out[0]->as<char>() + at * bytes, from.as<char>() + row * bytes, bytes);
    }
}

void scatter_rows(const Call& call) {
    const Tensor &buffer = *call.in[0], &rows = *call.in[1], &values = *call.in[2];
    const std::int64_t bytes = buffer.stride() * buffer.itemsize();
    for (std::int64_t at = 0; at < rows.count(); ++at) {
        const std::int64_t row = rows.as<std::int32_t>()[at];
        expect_below(row, buffer.extent[0], "the row");
        copy_bytes(buffer.as<char>() + row * bytes, values.as<char>() + at * bytes, bytes);
    }
}

void split(const Call& call) {
    const Tensor& x = *call.in[0];
    const std::int64_t row_bytes = x.width() * x.itemsize();
    std::int64_t first = 0;
    for (int part = 0; part < call.num_out; ++part) {
        const std::int64_t bytes = call.out[part]->width() * x.itemsize();
        for (std::int64_t row = 0; row < x.rows(); ++row) {
            copy_bytes(call.out[part]->as<char>() + row * bytes, x.as<char>() + row * row_bytes + first, bytes);
        }
        first += bytes;
    }
}

void positions(const Call& call) {
    const std::int64_t num_tokens = call.out[0]->count(), num_requests = call.in[2]->count();
    const std::int32_t* starts = call.in[1]->as<std::int32_t>();
    const std::int32_t* computed = call.in[2]->as<std::int32_t>();
    std::int32_t* found = call.out[0]->as<std::int32_t>();
    std::fill(found, found + num_tokens, 0);
    for (std::int64_t request = 0; request < num_requests; ++request) {
        for (std::int64_t token = starts[request]; token < starts[request + 1]; ++token) {
            expect_below(token, num_tokens, "the token");
            found[token] = computed[request] + static_cast<std::int32_t>(token - starts[request]);
        }
    }
}

void owners(const Call& call) {
    const std::int32_t* starts = call.in[1]->as<std::int32_t>();
    const std::int64_t num_tokens = call.out[0]->count(), num_requests = call.in[1]->count() - 1;
    std::int32_t* found = call.out[0]->as<std::int32_t>();
    std::fill(found, found + num_tokens, static_cast<std::int32_t>(std::max<std::int64_t>(0, num_requests - 1)));
    for (std::int64_t request = 0; request < num_requests; ++request) {
        for (std::int64_t token = starts[request]; token < starts[request + 1]; ++token) {
            expect_below(token, num_tokens, "the token");
            found[token] = static_cast<std::int32_t>(request);
        }
    }
}

// A source counts the columns from 1, which are the inputs from the fourth on.
void pick(const Call& call) {
    const std::int32_t *given = call.in[0]->as<std::int32_t>(), *source = call.in[1]->as<std::int32_t>();
    const std::int32_t* seats = call.in[2]->as<std::int32_t>();
    for (std::int64_t at = 0; at < call.out[0]->count(); ++at) {
        std::int32_t found = given[at];
        if (source[at] != 0) {
            expect_below(source[at], call.num_in - 2, "the source");
            const Tensor& column = *call.in[2 + source[at]];
            expect_below(seats[at], column.extent[0], "the seat");
            found = std::max(0, column.as<std::int32_t>()[seats[at]]);
        }
        call.out[0]->as<std::int32_t>()[at] = found;
    }
}

void slots(const Call& call) {
    const std::int64_t num_tokens = call.out[0]->count();
    const std::int32_t* positions = call.in[0]->as<std::int32_t>();
    const std::int32_t* starts = call.in[1]->as<std::int32_t>();
    const Tensor& table = *call.in[2];
    std::int32_t* found = call.out[0]->as<std::int32_t>();
    std::fill(found, found + num_tokens, 0);
    for (std::int64_t request = 0; request < table.extent[0]; ++request) {
        for (std::int64_t token = starts[request]; token < starts[request + 1]; ++token) {
            expect_below(token, num_tokens, "the token");
            const std::int64_t block = positions[token] / call.integer, within = positions[token] % call.integer;
            expect_below(block, table.extent[1], "the block of a table");
            const std::int64_t first = table.as<std::int32_t>()[request * table.extent[1] + block] * call.integer;
            found[token] = static_cast<std::int32_t>(first + within);
        }
    }
}

}  // namespace octavo
