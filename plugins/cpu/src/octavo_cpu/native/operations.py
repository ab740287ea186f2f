"""Which specs there is an instruction for, what it says, and why not for the others.

Knows nothing of how the library runs an instruction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from octavo_cpu.native.library import MAX_OPERANDS, MAX_RANK, Library
from octavo_cpu.native.memory import DTYPE_NUMBERS, packed, packed_from_host
from octavo_platforms.graph import Attr, StateType, ValueType
from octavo_platforms.ops.dense import offset_of
from octavo_platforms.ops.op import tensor
from octavo_platforms.platform import Instruction, StateLayout, Unsupported
from octavo_platforms.program import StateSpec
from octavo_platforms.specs import AttentionSpec, KVReadSpec, KVWriteSpec, LinearSpec, OpSpec
from octavo_platforms.tensor import DType, is_float

LAYOUT = StateLayout("BKPD", ("B", "K", "P", "D"))
DTYPES: tuple[DType, ...] = ("float32", "bfloat16")
VIEW = "view"  # the same elements in another shape: nothing to run

_ATTRIBUTE = {
    "rms_norm": "eps",
    "add_rms_norm": "eps",
    "rope_table": "factor",
    "rotary": "interleaved",
    "slots": "block_size",
}
_PLAIN = frozenset(
    {
        "add", "mul", "silu", "silu_gate", "cast", "embedding", "gather_rows", "scatter_rows",
        "split", "positions", "owners", "pick", "sample",
    }
)  # fmt: skip
_NORMS = frozenset({"rms_norm", "add_rms_norm"})
_VIEWS = frozenset({"heads", "flatten"})
_REAL = frozenset({"add", "mul"})  # these know no integers
_MIXED = frozenset({"cast", "rotary"})  # these read two floating dtypes


@dataclass(frozen=True, slots=True)
class Operation:
    """What an instruction does: an op of the library, or `VIEW`, and its attributes."""

    op: str
    real: float = 0.0
    integer: int = 0


def of_op(spec: OpSpec) -> Instruction | Unsupported | None:
    """Give a primitive, or a compound that the library has whole."""
    if spec.op in _VIEWS:
        made = Operation(VIEW)
    elif spec.op in _NORMS and (refused := _norm_refusal(spec)):
        return Unsupported(refused)
    elif spec.op in _ATTRIBUTE:
        made = _operation(spec.op, spec.attr(_ATTRIBUTE[spec.op]))
    elif spec.op in _PLAIN:
        made = Operation(spec.op)
    else:
        return None
    values = [*spec.inputs, *spec.outputs]
    refusal = _refusal(values, is_mixed=spec.op in _MIXED, is_real=spec.op in _REAL)
    if len(spec.outputs) > MAX_OPERANDS:
        refusal = f"{len(spec.outputs)} outputs; there is room for {MAX_OPERANDS}"
    if refusal is not None:
        return Unsupported(refusal)
    return Instruction(name=f"native.{spec.op}", code=made)


def _norm_refusal(spec: OpSpec) -> str | None:
    """Say what of a norm the library does not have; None for nothing."""
    offset = offset_of(dict(spec.attrs))
    if offset:
        return f"a norm whose weight has the offset {offset}; the library adds none"
    weight = tensor(spec.inputs, len(spec.inputs) - 1)
    if len(weight.shape) != 1:
        return f"the norm weight {weight}, a row for each head; the library has one for all"
    return None


def of_linear(spec: LinearSpec, library: Library) -> Instruction | Unsupported:
    """Give a product on a packed weight, or on one that something else reads too."""
    if spec.weight_dtype != spec.dtype or spec.dtype not in DTYPES:
        return Unsupported(f"weights of {spec.weight_dtype} with rows of {spec.dtype}")
    if spec.shared:
        return Instruction(name="native.linear", code=Operation("linear"))
    return Instruction(
        name="native.linear_packed",
        code=Operation("linear_packed"),
        pack=partial(packed, library),
        pack_host=partial(packed_from_host, library),
    )


def of_attention(spec: AttentionSpec) -> Instruction | Unsupported:
    """Give attention over the blocks as they lie."""
    if spec.softcap is not None:
        return Unsupported(f"scores that stay below {spec.softcap}; the library bends none")
    if spec.sinks:
        return Unsupported("sinks; the library gives positions everything")
    if spec.slopes:
        return Unsupported("slopes; the library's scores do not depend on positions")
    made = Operation("attention", real=spec.scale, integer=spec.window or 0)
    return _on_state(made, spec.state, spec.dtype)


def of_kv_write(spec: KVWriteSpec) -> Instruction | Unsupported:
    """Give the write, alone or with the turn before it."""
    made = Operation(spec.op, integer=int(bool(spec.interleaved)))
    return _on_state(made, spec.state, spec.dtype)


def of_kv_read(spec: KVReadSpec) -> Instruction | Unsupported:
    """Give the read by slot."""
    return _on_state(Operation("kv_read"), spec.state, spec.dtype)


def _operation(op: str, attribute: Attr) -> Operation:
    if isinstance(attribute, float):
        return Operation(op, real=attribute)
    assert isinstance(attribute, int), f"{op} has the attribute {attribute!r}"
    is_real = _ATTRIBUTE[op] in ("eps", "factor")
    return Operation(op, real=float(attribute)) if is_real else Operation(op, integer=attribute)


def _on_state(made: Operation, state: StateSpec, dtype: DType) -> Instruction | Unsupported:
    planes = [(len(plane.shape), plane.dtype) for plane in state.planes]
    if dtype not in DTYPES or planes != [(2, dtype)] * 2:
        kinds = ", ".join(f"{plane.dtype}{list(plane.shape)}" for plane in state.planes)
        return Unsupported(f"planes of {kinds} with rows of {dtype}; two of heads are known")
    return Instruction(name=f"native.{made.op}", code=made, layouts=(LAYOUT,))


def _refusal(types: Sequence[ValueType], *, is_mixed: bool, is_real: bool) -> str | None:
    reals = set()
    for each in types:
        if isinstance(each, StateType):
            return f"the state {each} outside attention"
        if each.dtype not in DTYPE_NUMBERS:
            return f"the dtype {each.dtype}; known are {', '.join(DTYPE_NUMBERS)}"
        if len(each.shape) > MAX_RANK:
            return f"{len(each.shape)} axes; there is room for {MAX_RANK}"
        if is_float(each.dtype):
            reals.add(each.dtype)
    if is_real and not reals:
        return "integers, where it knows reals alone"
    if len(reals) > 1 and not is_mixed:
        return f"{' and '.join(sorted(reals))} together"
    return None
