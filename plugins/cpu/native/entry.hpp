// An entry: one graph of a program as a flat list of instructions, run from first to last by one call.
//
// The list is handed over once, in these plain structs, which `octavo_cpu.native.library` mirrors field by field.
//
//     value        where its elements lie: constant (an address), scratch (an offset), input or output (a number)
//     dims         how many there are along each axis: integers, or sizes of the launch
//     instruction  an op, its values, a real and an integer attribute
//
// Knows nothing of models, weights' names or of how scratch memory was planned.
#pragma once

#include <cstdint>
#include <vector>

#include "ops.hpp"

namespace octavo {

constexpr int kMaxOperands = 8;

enum Place : std::int32_t { kConstant = 0, kScratch = 1, kInput = 2, kOutput = 3, kNumPlaces = 4 };

// Sizes of the launch [symbol] * times / over + plus; without a symbol (-1), plus alone.
struct Dim {
    std::int32_t symbol, times, over, plus;
};

struct Value {
    std::int32_t dtype, rank, place, number;
    std::int64_t at;  // an address or an offset
    Dim dims[kMaxRank];
};

struct Instruction {
    std::int32_t op, num_in, num_out;
    std::int32_t in[kMaxOperands], out[kMaxOperands];
    double real;
    std::int64_t integer;
};

// How many of each an entry was made for.
struct Counts {
    std::int64_t values, instructions, symbols, inputs, outputs;
};

class Entry {
   public:
    // Copies the lists. Throws, where they point out of themselves.
    Entry(Pool& pool, char* scratch, const Counts& counts, const Value* values, const Instruction* instructions);
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;

    // Runs all instructions. Sizes are the launch's, by symbol; inputs and outputs are addresses.
    void launch(const std::int64_t* sizes, void* const* inputs, void* const* outputs);

   private:
    struct Step {
        Run run;
        std::vector<const Tensor*> in, out;
        double real;
        std::int64_t integer;
    };

    void expect_whole(const Counts& counts) const;
    Step step_of(const Instruction& instruction);

    Pool& pool_;
    char* scratch_;
    std::vector<Value> values_;
    std::vector<Tensor> tensors_;  // one a value, at this launch
    std::vector<Step> steps_;
};

// The ops by number, in the order in which Python asks for their names.
extern const Op kOps[];
extern const int kNumOps;

}  // namespace octavo
