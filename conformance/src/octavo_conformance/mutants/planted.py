"""The planted bugs, one row each: the oracle, with one mistake put in front of it.

`areas` are where it is likely found, which only makes the hunt shorter. Knows nothing of
which case finds it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from octavo_conformance.mutants import (
    ahead,
    deviant,
    encoded,
    forgetful,
    latents,
    misfits,
    mistakes,
    shaped,
    sloped,
    uncommon,
)
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
        if (
            (spec.window is not None) != self.is_for_windows
            or spec.softcap is not None
            or spec.sinks
            or spec.slopes
        ):
            return None
        return state_kernel("attention", partial(self.run, scale=spec.scale))


@dataclass(frozen=True, slots=True)
class WrongWindow:
    """A plugin whose attention goes wrong before windows, which it knows."""

    run: Run

    @hookimpl
    def bind_attention(self, spec: AttentionSpec) -> StateKernel | None:
        """Give the wrong kernel."""
        if spec.window is None or spec.softcap is not None or spec.sinks or spec.slopes:
            return None
        return state_kernel("attention", partial(self.run, scale=spec.scale, window=spec.window))


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
    _mutant(
        "null blocks before a window that are multiplied",
        WrongWindow(uncommon.weighs_what_has_left),
        "attention",
    ),
    _mutant(
        "latents without rotary keys",
        latents.WrongLatentAttention(latents.misread(latents.without_rotary_keys)),
        "latent_attention",
    ),
    _mutant(
        "values of latents before keys",
        latents.WrongLatentAttention(latents.misread(latents.values_before_keys)),
        "latent_attention",
    ),
    _mutant(
        "keys of all latents first",
        latents.WrongLatentAttention(latents.misread(latents.all_keys_first)),
        "latent_attention",
    ),
    _mutant(
        "latents scaled by their rows",
        latents.WrongLatentAttention(latents.misread(latents.scaled_by_the_row)),
        "latent_attention",
    ),
    _mutant(
        "latents masked by zero",
        latents.WrongLatentAttention(latents.masked_by_zero),
        "latent_attention",
    ),
    _mutant(
        "latents by the host's lengths",
        latents.AttendsToLatentsByTheHostsLengths(),
        "latent_attention",
    ),
    *(_mutant(*mistake) for mistake in forgetful.MISTAKES),
    _mutant(
        "rings one place late", WrongOp("ring_rows", forgetful.rings_one_place_late), "ring_rows"
    ),
    _mutant(
        "time steps without limits",
        WrongOp("time_steps", forgetful.steps_without_limits),
        "time_steps",
    ),
    _mutant("keys before latents", latents.KeysBeforeLatents(), "latent_write"),
    *(_mutant(name, WrongOp("route", wrong), "route") for name, wrong in uncommon.ROUTING),
    _mutant(
        "experts without biases",
        WrongOp("grouped_linear", uncommon.without_expert_biases),
        "grouped_linear",
    ),
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
    *(
        _mutant(name, WrongOp("encoder_attention", wrong), "encoder_attention")
        for name, wrong in (
            ("encoder that sees all", encoded.sees_all),
            ("encoder that sees one token too many", encoded.sees_one_too_many),
        )
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
    _mutant(
        "drafts that were not accepted count",
        WrongOp("last_rows", encoded.last_row_of_all),
        "last_rows",
    ),
    _mutant(
        "encoder seen as far as a token stands",
        encoded.WrongCross(encoded.sees_as_far_as_it_stands),
        "cross_attention",
    ),
    _mutant(
        "encoder seen in whole blocks",
        encoded.WrongCross(encoded.sees_whole_blocks),
        "cross_attention",
    ),
    _mutant("rows mixed by weight", WrongOp("mix_rows", encoded.mixes_by_weight), "mix_rows"),
    _mutant(
        "sections taken for runs",
        WrongOp("rope_sections", encoded.sections_in_runs),
        "rope_sections",
    ),
    _mutant(
        "offsets taken for places",
        WrongOp("rope_sections", encoded.offsets_as_places),
        "rope_sections",
    ),
    _mutant("accepts every match", WrongOp("accept", ahead.accept_every_match), "accept"),
    _mutant(
        "mask from the highest bit",
        WrongOp("mask_logits", ahead.mask_from_the_highest_bit),
        "mask_logits",
    ),
    _mutant("rank that counts equals", WrongOp("score", ahead.rank_counts_equals), "score"),
    *(
        _mutant(name, WrongOp(op, run), op)
        for name, op, run in (
            ("bias once for each id", "bias_logits", shaped.bias_once),
            ("penalties of padding", "penalise_logits", shaped.penalise_the_padding),
            ("penalties one token late", "penalise_logits", shaped.penalise_without_the_last),
            ("penalties of the prompt", "penalise_logits", shaped.count_the_prompt),
            ("penalty without a sign", "penalise_logits", shaped.repeat_whatever_the_sign),
            ("top-k that cuts ties", "truncate_logits", shaped.cut_ties),
            ("top-p before top-k", "truncate_logits", shaped.cut_the_share_first),
            ("cuts before temperature", "truncate_logits", shaped.cut_before_the_temperature),
            ("likeliest from the end", "most_likely", shaped.likeliest_from_the_end),
        )
    ),
    *(_mutant(name, WrongOp(op, run), area) for name, op, run, area in deviant.MISTAKES),
    _mutant("cap on scores forgotten", deviant.ForgetsTheCap(), "attention"),
    _mutant("sinks forgotten", deviant.ForgetsTheSinks(), "attention"),
    *(_mutant(name, sloped.WrongSlopes(run), "attention") for name, run in sloped.MISTAKES.items()),
    _mutant("attends by the host's lengths", ahead.AttendsByTheHostsLengths(), "attention"),
    _mutant("memory that aliases the host", misfits.AliasesTheHost(), "memory"),
    _mutant("weight packed where the host has it", misfits.PacksTheHostsArray(), "linear"),
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
