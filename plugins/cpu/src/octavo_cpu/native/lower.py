"""Lowering: a bound entry as flat lists of values and instructions, ready to be handed over.

Every value of the graph becomes one value of the library, a state as many as it has planes. A
view is a value that lies where another does. An output that an instruction makes is made in
place, where its reader wants it; any other is copied there at the end.

Knows nothing of the library but its structs, and of no op's meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from octavo_cpu.native.library import (
    CONSTANT,
    INPUT,
    NO_SYMBOL,
    OUTPUT,
    SCRATCH,
    DimStruct,
    InstructionStruct,
    ValueStruct,
)
from octavo_cpu.native.memory import DTYPE_NUMBERS, NativeTensor
from octavo_cpu.native.operations import VIEW, Operation
from octavo_cpu.native.scratch import Life, plan
from octavo_platforms.binding import BoundEntry, Choice
from octavo_platforms.errors import CannotBind
from octavo_platforms.graph import Dim, Node, Size, TensorType, Value
from octavo_platforms.program import Symbol
from octavo_platforms.tensor import itemsize

Constants = Mapping[Value, Sequence[NativeTensor]]
Named = tuple[tuple[str, TensorType], ...]


@dataclass(frozen=True, slots=True)
class Lowered:
    """An entry as the library takes it, and what its launches bring and give."""

    values: Sequence[ValueStruct]
    instructions: Sequence[InstructionStruct]
    inputs: Named
    outputs: Named
    scratch_bytes: int


def lower(
    entry: BoundEntry,
    constants: Constants,
    symbols: Sequence[Symbol],
    number_of: Mapping[str, int],
) -> Lowered:
    """Flatten an entry. `constants` are its leaves that are no inputs; `number_of` numbers ops.

    Raises: CannotBind, for a kernel that is no instruction of this platform.
    """
    lowering = _Lowering(symbols, number_of)
    graph = entry.graph
    inputs: list[tuple[str, TensorType]] = []
    for leaf in graph.leaves:
        if leaf.kind == "input":
            declared = graph.tensor_type(leaf.value)
            lowering.bring(leaf.value, declared, len(inputs))
            inputs.append((leaf.name, declared))
        else:
            lowering.keep(leaf.value, constants[leaf.value])
    for node, choice in zip(graph.nodes, entry.choices, strict=True):
        made = [graph.tensor_type(value) for value in node.outputs]
        lowering.write(node, _operation(choice), made)
    outputs = tuple((name, graph.tensor_type(value)) for name, value in graph.outputs)
    for number, (_, value) in enumerate(graph.outputs):
        lowering.give(value, graph.tensor_type(value), number)
    scratch_bytes = lowering.settle()
    return Lowered(lowering.values, lowering.instructions, tuple(inputs), outputs, scratch_bytes)


@dataclass(slots=True)
class _Lowering:
    """The lists as they grow. A value's number is its place in `values`."""

    symbols: Sequence[Symbol]
    number_of: Mapping[str, int]
    values: list[ValueStruct] = field(default_factory=list)
    instructions: list[InstructionStruct] = field(default_factory=list)
    _numbers: dict[Value, tuple[int, ...]] = field(default_factory=dict)
    _root: dict[int, int] = field(default_factory=dict)
    _lives: dict[int, Life] = field(default_factory=dict)

    def bring(self, value: Value, declared: TensorType, number: int) -> None:
        """Add an input."""
        self._numbers[value] = (self._add(declared, INPUT, number=number),)

    def keep(self, value: Value, tensors: Sequence[NativeTensor]) -> None:
        """Add what is the same at each launch: one tensor, or the planes of a state."""
        self._numbers[value] = tuple(
            self._add(TensorType(tensor.shape, tensor.dtype), CONSTANT, at=tensor.address)
            for tensor in tensors
        )

    def write(self, node: Node, operation: Operation, made: Sequence[TensorType]) -> None:
        """Add an instruction, or for a view a second sight of a value."""
        given = [number for value in node.inputs for number in self._numbers[value]]
        if operation.op == VIEW:
            (declared,) = made
            seen = self._add(declared, SCRATCH)
            self._root[seen] = self._root.get(given[0], given[0])
            self._numbers[node.outputs[0]] = (seen,)
            return
        numbers = []
        for value, declared in zip(node.outputs, made, strict=True):
            number = self._add(declared, SCRATCH)
            num_bytes = self._largest(declared) * itemsize(declared.dtype)
            self._lives[number] = Life(num_bytes, len(self.instructions), len(self.instructions))
            self._numbers[value] = (number,)
            numbers.append(number)
        self._instruct(operation, given, numbers)

    def give(self, value: Value, declared: TensorType, number: int) -> None:
        """Make a value an output: where it is made, if it can be, else by a copy."""
        (own,) = self._numbers[value]
        root = self._root.get(own, own)
        if root in self._lives:
            del self._lives[root]
            self.values[root].place, self.values[root].number = OUTPUT, number
            return
        copied = self._add(declared, OUTPUT, number=number)
        self._instruct(Operation("copy"), [own], [copied])

    def settle(self) -> int:
        """Give every value its place; returns the bytes of scratch that are needed."""
        offsets, scratch_bytes = plan(self._lives)
        for number, offset in offsets.items():
            self.values[number].at = offset
        for seen, root in self._root.items():
            to, found = self.values[seen], self.values[root]
            to.place, to.number, to.at = found.place, found.number, found.at
        return scratch_bytes

    def _instruct(self, operation: Operation, given: Sequence[int], made: Sequence[int]) -> None:
        at = len(self.instructions)
        for number in given:
            root = self._root.get(number, number)
            if root in self._lives:
                life = self._lives[root]
                self._lives[root] = Life(life.num_bytes, life.first, at)
        instruction = InstructionStruct(
            op=self.number_of[operation.op],
            num_in=len(given),
            num_out=len(made),
            real=operation.real,
            integer=operation.integer,
        )
        instruction.ins[: len(given)] = given
        instruction.outs[: len(made)] = made
        self.instructions.append(instruction)

    def _add(self, declared: TensorType, place: int, *, number: int = 0, at: int = 0) -> int:
        made = ValueStruct(
            dtype=DTYPE_NUMBERS[declared.dtype],
            rank=len(declared.shape),
            place=place,
            number=number,
            at=at,
        )
        for axis, size in enumerate(declared.shape):
            made.dims[axis] = self._dim(size)
        self.values.append(made)
        return len(self.values) - 1

    def _dim(self, size: Size) -> DimStruct:
        if isinstance(size, int):
            return DimStruct(NO_SYMBOL, 0, 1, size)
        names = [symbol.name for symbol in self.symbols]
        return DimStruct(names.index(size.symbol), size.times, size.over, size.plus)

    def _largest(self, declared: TensorType) -> int:
        maxima = {symbol.name: symbol.maximum for symbol in self.symbols}
        count = 1
        for size in declared.shape:
            count *= size.at(maxima) if isinstance(size, Dim) else size
        return count


def _operation(choice: Choice) -> Operation:
    instruction = choice.to_compile()
    if not isinstance(instruction.code, Operation):
        raise CannotBind(
            f"'{instruction.name}' by {choice.provider} is an instruction for another platform's "
            "compiler; answer None, so that this platform's own is asked"
        )
    return instruction.code
