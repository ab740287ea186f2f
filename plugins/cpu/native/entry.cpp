// How an entry is checked when it is made, and run.
#include "entry.hpp"

namespace octavo {

const Op kOps[] = {
    {"linear", linear, 2},
    {"linear_packed", linear_packed, 2},
    {"rms_norm", rms_norm, 2},
    {"add_rms_norm", add_rms_norm, 3},
    {"add", add, 2},
    {"mul", mul, 2},
    {"silu", silu, 1},
    {"silu_gate", silu_gate, 1},
    {"cast", cast, 1},
    {"rope_table", rope_table, 2},
    {"rotary", rotary, 2},
    {"rotary_kv_write", rotary_kv_write, 7},
    {"copy", copy, 1},
    {"embedding", gather_rows, 2},
    {"gather_rows", gather_rows, 2},
    {"scatter_rows", scatter_rows, 3},
    {"split", split, 1},
    {"positions", positions, 3},
    {"owners", owners, 2},
    {"pick", pick, 4},
    {"slots", slots, 3},
    {"kv_write", kv_write, 5},
    {"kv_read", kv_read, 3},
    {"attention", attention, 6},
    {"sample", sample, 4},
};
const int kNumOps = sizeof kOps / sizeof kOps[0];

Entry::Entry(Pool& pool, char* scratch, const Counts& counts, const Value* values, const Instruction* instructions)
    : pool_(pool), scratch_(scratch), values_(values, values + counts.values), tensors_(values_.size()) {
    expect_whole(counts);
    for (std::int64_t at = 0; at < counts.instructions; ++at) steps_.push_back(step_of(instructions[at]));
}

void Entry::launch(const std::int64_t* sizes, void* const* inputs, void* const* outputs) {
    for (std::size_t at = 0; at < values_.size(); ++at) {
        const Value& value = values_[at];
        Tensor& tensor = tensors_[at];
        tensor.dtype = value.dtype;
        tensor.rank = value.rank;
        for (int axis = 0; axis < value.rank; ++axis) {
            const Dim& dim = value.dims[axis];
            tensor.extent[axis] = dim.symbol < 0 ? dim.plus : sizes[dim.symbol] * dim.times / dim.over + dim.plus;
        }
        switch (value.place) {
            case kConstant: tensor.data = reinterpret_cast<void*>(static_cast<std::uintptr_t>(value.at)); break;
            case kScratch: tensor.data = scratch_ + value.at; break;
            case kInput: tensor.data = inputs[value.number]; break;
            default: tensor.data = outputs[value.number];
        }
    }
    for (const Step& step : steps_) {
        step.run({step.in.data(), step.out.data(), static_cast<int>(step.in.size()), static_cast<int>(step.out.size()),
                  step.real, step.integer, pool_});
    }
}

void Entry::expect_whole(const Counts& counts) const {
    for (const Value& value : values_) {
        expect_below(value.dtype, kNumDTypes, "the dtype");
        expect_below(value.rank, kMaxRank + 1, "the number of axes");
        expect_below(value.place, kNumPlaces, "the place");
        if (value.place == kInput) expect_below(value.number, counts.inputs, "the input");
        if (value.place == kOutput) expect_below(value.number, counts.outputs, "the output");
        for (int axis = 0; axis < value.rank; ++axis) {
            expect_below(value.dims[axis].symbol + 1, counts.symbols + 1, "the symbol");
            if (value.dims[axis].over < 1) throw std::runtime_error("a size is divided by less than one");
        }
    }
}

Entry::Step Entry::step_of(const Instruction& instruction) {
    expect_below(instruction.op, kNumOps, "the op");
    expect_below(instruction.num_in, kMaxOperands + 1, "the number of inputs");
    expect_below(instruction.num_out, kMaxOperands + 1, "the number of outputs");
    const Op& op = kOps[instruction.op];
    if (instruction.num_in < op.num_in) throw std::runtime_error(std::string(op.name) + " has too few inputs");
    Step step = {op.run, {}, {}, instruction.real, instruction.integer};
    const std::int64_t num_values = static_cast<std::int64_t>(tensors_.size());
    for (int at = 0; at < instruction.num_in; ++at) {
        expect_below(instruction.in[at], num_values, "the value");
        step.in.push_back(&tensors_[static_cast<std::size_t>(instruction.in[at])]);
    }
    for (int at = 0; at < instruction.num_out; ++at) {
        expect_below(instruction.out[at], num_values, "the value");
        step.out.push_back(&tensors_[static_cast<std::size_t>(instruction.out[at])]);
    }
    return step;
}

}  // namespace octavo
