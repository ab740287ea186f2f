// What Python sees: memory, threads, packing, and entries. No exception leaves a function: where one fails, it writes
// words into `message` and gives null or 1.
#include <algorithm>
#include <cstdlib>
#include <exception>

#include "entry.hpp"
#include "lanes.hpp"

#define OCTAVO_FACE extern "C" __attribute__((visibility("default")))
#ifndef OCTAVO_SOURCES
#define OCTAVO_SOURCES ""
#endif

namespace {

constexpr std::size_t kAlignment = 64;
constexpr int kMessageBytes = 256;  // `message` has room for as many

void tell(char* message, const char* words) {
    std::strncpy(message, words, kMessageBytes - 1);
    message[kMessageBytes - 1] = '\0';
}

// Lays a weight [O, I] out as [O/16, I, 16]; outputs past the last are zero.
template <typename T>
void pack(const T* weight, T* packed, std::int64_t n_out, std::int64_t n_in) {
    for (std::int64_t first = 0; first < n_out; first += octavo::kLanes) {
        T* block = packed + first * n_in;
        for (std::int64_t i = 0; i < n_in; ++i) {
            for (std::int64_t lane = 0; lane < octavo::kLanes; ++lane) {
                block[i * octavo::kLanes + lane] = first + lane < n_out ? weight[(first + lane) * n_in + i] : T{};
            }
        }
    }
}

}  // namespace

// A digest of the sources that the library was built from.
OCTAVO_FACE const char* octavo_sources() { return OCTAVO_SOURCES; }

// The name of the op with a number; null past the last.
OCTAVO_FACE const char* octavo_op(std::int32_t number) {
    return number < octavo::kNumOps ? octavo::kOps[number].name : nullptr;
}

// Zeros, aligned for any lane; null where there is no memory. Pages that nobody touches cost nothing.
OCTAVO_FACE void* octavo_alloc(std::int64_t bytes) {
    const std::size_t wanted = static_cast<std::size_t>(std::max<std::int64_t>(bytes, 1));
#ifdef OCTAVO_SANITIZED  // to the byte, so that a step past the end is seen
    void* exact = nullptr;
    if (posix_memalign(&exact, kAlignment, wanted) != 0) return nullptr;
    return std::memset(exact, 0, wanted);
#else
    char* start = static_cast<char*>(std::calloc(wanted + 2 * kAlignment, 1));
    if (start == nullptr) return nullptr;
    const std::size_t past = reinterpret_cast<std::uintptr_t>(start) % kAlignment;
    char* aligned = start + (kAlignment - past) + kAlignment;
    std::memcpy(aligned - sizeof start, &start, sizeof start);
    return aligned;
#endif
}

OCTAVO_FACE void octavo_free(void* memory) {
#ifdef OCTAVO_SANITIZED
    std::free(memory);
#else
    if (memory == nullptr) return;
    char* start;
    std::memcpy(&start, static_cast<char*>(memory) - sizeof start, sizeof start);
    std::free(start);
#endif
}

OCTAVO_FACE void octavo_pack(const void* weight, void* packed, std::int64_t n_out, std::int64_t n_in,
                             std::int32_t dtype) {
    if (dtype == octavo::kFloat32) {
        pack(static_cast<const float*>(weight), static_cast<float*>(packed), n_out, n_in);
    } else {
        pack(static_cast<const octavo::BFloat16*>(weight), static_cast<octavo::BFloat16*>(packed), n_out, n_in);
    }
}

OCTAVO_FACE octavo::Pool* octavo_pool_new(std::int32_t num_threads, char* message) try {
    return new octavo::Pool(num_threads);
} catch (const std::exception& error) {
    tell(message, error.what());
    return nullptr;
}

OCTAVO_FACE void octavo_pool_free(octavo::Pool* pool) { delete pool; }

OCTAVO_FACE octavo::Entry* octavo_entry_new(octavo::Pool* pool, void* scratch, const octavo::Counts* counts,
                                            const octavo::Value* values, const octavo::Instruction* instructions,
                                            char* message) try {
    return new octavo::Entry(*pool, static_cast<char*>(scratch), *counts, values, instructions);
} catch (const std::exception& error) {
    tell(message, error.what());
    return nullptr;
}

OCTAVO_FACE void octavo_entry_free(octavo::Entry* entry) { delete entry; }

// Runs an entry from its first instruction to its last. One launch at a time on a pool.
OCTAVO_FACE std::int32_t octavo_launch(octavo::Entry* entry, const std::int64_t* sizes, void* const* inputs,
                                       void* const* outputs, char* message) try {
    entry->launch(sizes, inputs, outputs);
    return 0;
} catch (const std::exception& error) {
    tell(message, error.what());
    return 1;
}
