"""The planted bugs, one row each: the oracle, with one mistake put in front of it.

`areas` are where it is likely found, which only makes the hunt shorter. Knows nothing of
which case finds it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from octavo_conformance.mutants import ahead, misfits, mistakes, uncommon
from octavo_conformance.mutants.mistakes import paged
from octavo_conformance.oracle.platform import OraclePlatform, state_kernel
from octavo_platforms.hooks import hookimpl
from octavo_platforms.platform import Kernel, StateKernel
from octavo_platforms.specs import AttentionSpec, KVWriteSpec, LinearSpec, OpSpec

ORACLE_ORIGIN = "octavo_conformance.oracle.platform:platform"
Run = Callable[..., object]


@dataclass(frozen=True, slots=True)
class WrongOp:
    """A plugin that has one op, and has it wrong."""

    op: str
    run: Run

    @hookimpl
    def bind_op(self, spec: OpSpec) -> Kernel | None:
        """Give the wrong kernel."""
        if spec.op != self.op:
            return None
        return Kernel(name=f"planted.{self.op}", run=partial(self.run, **dict(spec.attrs)))


@dataclass(frozen=True, slots=True)
class WrongLinear:
    """A plugin with a wrong linear layer."""

    run: Run

    @hookimpl
    def bind_linear(self, spec: LinearSpec) -> Kernel:
        """Give the wrong kernel."""
        return Kernel(name="planted.linear", run=self.run)


@dataclass(frozen=True, slots=True)
class WrongWrite:
    """A plugin with a wrong write."""

    run: Run

    @hookimpl
    def bind_kv_write(self, spec: KVWriteSpec) -> StateKernel | None:
        """Give the wrong kernel."""
        return state_kernel("kv_write", self.run) if spec.op == "kv_write" else None


@dataclass(frozen=True, slots=True)
class WrongAttention:
    """A plugin with wrong attention."""

    run: Run
    is_for_windows: bool = False

    @hookimpl
    def bind_attention(self, spec: AttentionSpec) -> StateKernel | None:
        """Give the wrong kernel, with a window or without one."""
        if (spec.window is not None) != self.is_for_windows:
            return None
        return state_kernel("attention", partial(self.run, scale=spec.scale))


@dataclass(frozen=True, slots=True)
class Mutant:
    """A platform with a planted bug."""

    name: str
    plugin: OraclePlatform
    areas: tuple[str, ...]
    origin: str = ORACLE_ORIGIN


HEAVY = OraclePlatform(overrides=[misfits.ImportsTooMuch()])
MEDDLER = OraclePlatform(overrides=[misfits.MeddlesWithTheContract()])


def _mutant(name: str, wrong: object, *areas: str) -> Mutant:
    return Mutant(name, OraclePlatform(overrides=[wrong]), areas)


MUTANTS: tuple[Mutant, ...] = (
    _mutant("linear without its bias", WrongLinear(mistakes.forget_bias), "linear"),
    _mutant(
        "eps outside the root", WrongOp("rms_norm", mistakes.norm_with_eps_outside), "rms_norm"
    ),
    _mutant(
        "norm without its weight", WrongOp("rms_norm", mistakes.norm_without_weight), "rms_norm"
    ),
    _mutant("truncating cast", WrongOp("cast", mistakes.truncating_cast), "cast"),
    _mutant("rotary pairs swapped", WrongOp("rotary", mistakes.swapped_pairs), "rotary"),
    _mutant("rotary beyond its width", WrongOp("rotary", mistakes.whole_head_turned), "rotary"),
    _mutant(
        "rotary table one position late",
        WrongOp("rope_table", mistakes.table_of_the_next_position),
        "rope_table",
    ),
    _mutant(
        "rotary positions in 16 bits",
        WrongOp("rope_table", mistakes.table_in_16_bits),
        "rope_table",
    ),
    _mutant("positions from zero", WrongOp("positions", mistakes.positions_from_zero), "positions"),
    _mutant("block table read as a run", WrongOp("slots", mistakes.blocks_in_order), "slots"),
    _mutant("scatter that adds", WrongOp("scatter_rows", mistakes.add_to_rows), "scatter_rows"),
    _mutant("last token one slot late", WrongWrite(mistakes.write_last_token_late), "kv_write"),
    _mutant("keys written as values", WrongWrite(mistakes.write_values_as_keys), "kv_write"),
    _mutant(
        "attends to the next token", WrongAttention(paged(mistakes.sees_one_more)), "attention"
    ),
    _mutant(
        "attends to all but itself", WrongAttention(paged(mistakes.misses_itself)), "attention"
    ),
    _mutant("attends with its own scale", WrongAttention(paged(mistakes.unscaled)), "attention"),
    _mutant(
        "masks by a weight of zero", WrongAttention(paged(mistakes.masked_by_zero)), "attention"
    ),
    _mutant(
        "softmax without maximum", WrongAttention(paged(mistakes.without_maximum)), "attention"
    ),
    _mutant(
        "attends to blocks in order",
        WrongAttention(paged(mistakes.right, is_in_order=True)),
        "attention",
    ),
    _mutant("heads dealt out in turn", WrongAttention(mistakes.interleaved_groups), "attention"),
    _mutant(
        "window that is not looked at",
        WrongAttention(uncommon.no_window, is_for_windows=True),
        "attention",
    ),
    _mutant("equal experts reversed", WrongOp("route", uncommon.last_of_equal_experts), "route"),
    _mutant("always renormalised", WrongOp("route", uncommon.always_renormalised), "route"),
    _mutant(
        "later tokens of an expert first",
        WrongOp("group_rows", uncommon.later_tokens_first),
        "group_rows",
    ),
    _mutant(
        "experts masked by zero",
        WrongOp("grouped_linear", uncommon.masked_experts),
        "grouped_linear",
    ),
    _mutant(
        "encoder that looks back only",
        WrongOp("encoder_attention", uncommon.causal_encoder),
        "encoder_attention",
    ),
    _mutant("mean of the batch", WrongOp("mean_rows", uncommon.mean_of_all), "mean_rows"),
    _mutant(
        "the first mate's adapter",
        WrongOp("lora_delta", uncommon.first_mates_adapter),
        "lora_delta",
    ),
    _mutant(
        "slot 0 as an adapter", WrongOp("lora_delta", uncommon.adapter_zero_applied), "lora_delta"
    ),
    _mutant("sampler by row", WrongOp("sample", mistakes.sample_by_row), "sample"),
    _mutant(
        "noise one position early", WrongOp("sample", mistakes.sample_one_position_early), "sample"
    ),
    _mutant("half a seed", WrongOp("sample", mistakes.sample_with_half_a_seed), "sample"),
    _mutant("ties to the highest", WrongOp("sample", mistakes.sample_the_last_of_equals), "sample"),
    _mutant("Philox of nine rounds", WrongOp("sample", mistakes.sample_in_nine_rounds), "sample"),
    _mutant("picks the column before", WrongOp("pick", ahead.pick_the_column_before), "pick"),
    _mutant("first token of another", WrongOp("owners", ahead.owners_by_their_ends), "owners"),
    _mutant(
        "draft rows from the front", WrongOp("draft_rows", ahead.rows_from_the_front), "draft_rows"
    ),
    _mutant("accepts every match", WrongOp("accept", ahead.accept_every_match), "accept"),
    _mutant(
        "mask from the highest bit",
        WrongOp("mask_logits", ahead.mask_from_the_highest_bit),
        "mask_logits",
    ),
    _mutant("rank that counts equals", WrongOp("score", ahead.rank_counts_equals), "score"),
    _mutant("attends by the host's lengths", ahead.AttendsByTheHostsLengths(), "attention"),
    _mutant("memory that aliases the host", misfits.AliasesTheHost(), "memory"),
    _mutant("memory that is not zero", misfits.GivesUsedMemory(), "memory"),
    _mutant("memory that leaks", misfits.NeverFrees(), "memory"),
    _mutant("launch that reads late", misfits.ReadsLate(), "launch"),
    _mutant("opens any device", misfits.OpensAnything(), "device"),
    _mutant("probe that raises", misfits.ProbeRaises(), "package"),
    _mutant("hook that nobody knows", misfits.KnowsAnotherHook(), "package"),
    Mutant(
        "imports a framework to say hello",
        HEAVY,
        ("package",),
        "octavo_conformance.mutants.planted:HEAVY",
    ),
    Mutant(
        "replaces a function of the contract",
        MEDDLER,
        ("package",),
        "octavo_conformance.mutants.planted:MEDDLER",
    ),
)
