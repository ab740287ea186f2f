"""`octavo models`: the families that are built, their entries, and which platforms run them.

A family of encoders has two rows: of those that pool, and of those that score classes.

A family is bound to each platform that finds its device, as a tiny model and by shapes alone, so
that what is said here is what loading would say. Architectures that no family has may still run,
by a platform's own code; `octavo plan MODEL` tells.

Does not know what any family or platform can do.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the other commands start without programs
    from octavo_platforms.program import ProgramDef

SUMMARY = "List the families of models that are built, and the platforms that run them"
EXAMPLES = "example:\n  octavo models"

# A config in the words of all families, of the smallest model that has what each can have.
SAMPLE: Mapping[str, object] = MappingProxyType(
    {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5,
        "sliding_window": 8,
        "num_experts": 4,
        "num_local_experts": 4,
        "n_routed_experts": 4,
        "n_shared_experts": 1,
        "n_group": 2,
        "topk_group": 1,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16,
        "first_k_dense_replace": 1,
        "kv_lora_rank": 16,
        "q_lora_rank": 16,
        "qk_nope_head_dim": 8,
        "qk_rope_head_dim": 8,
        "v_head_dim": 8,
        "attn_layer_indices": (1,),
        "mamba_n_heads": 8,
        "mamba_d_head": 8,
        "num_heads": 8,
        "attn_layer_offset": 1,
    }
)


# What encoders say otherwise: each head has keys of its own.
HEADS: Mapping[str, object] = MappingProxyType({"num_key_value_heads": None})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a platform says to a family: entries that it leaves to the host, or why it refuses."""

    left_out: tuple[str, ...] = ()
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A family: its architectures, its entries, and the answers by platform."""

    name: str
    architectures: tuple[str, ...]
    entries: tuple[str, ...]
    answers: Mapping[str, Answer]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags: it has none."""


def run(args: argparse.Namespace) -> int:
    """Print the table.

    Effects: imports every installed platform, and opens each device that is found, for a moment.
    """
    print(table(list(ask_all())))
    print(quantised())
    return 0


def quantised() -> str:
    """Tell which quantised checkpoints are read, whatever their family and platform."""
    from octavo.weights.quantised import METHODS

    return f"Quantised checkpoints, made plain when placed: {', '.join(METHODS)}."


def ask_all() -> Iterable[Row]:
    """Bind every family to every platform that finds its device."""
    from octavo.graph.passes import optimised
    from octavo_platforms import bind, discover
    from octavo_platforms.capabilities import DeviceSettings
    from octavo_platforms.errors import CannotBind, PlatformError

    opened = []
    for candidate in discover.installed():
        try:
            platform = discover.load(candidate.name)
            if platform.probe().found:
                opened.append((platform, platform.open_device((0,), DeviceSettings())))
        except PlatformError:
            continue  # `octavo devices` says why
    for name, architectures, written in _programs():
        answers: dict[str, Answer] = {}
        for platform, context in opened:
            program = optimised(written, one_step="step" in platform.info.claims)
            try:
                binding = bind(program, platform, context)
            except CannotBind as refused:
                answers[platform.info.name] = Answer(refusal=str(refused))
            else:
                answers[platform.info.name] = Answer(tuple(binding.left_out))
        yield Row(name, architectures, tuple(written.entries), answers)
    for _, context in opened:
        context.close()


def _programs() -> Iterable[tuple[str, tuple[str, ...], ProgramDef]]:
    """Write the smallest model of every family; give also its name and architectures."""
    from octavo.models.decoder import Limits
    from octavo.models.registry import ENCODERS, FAMILIES

    limits = Limits(max_step_tokens=8, max_requests=2, max_blocks=4, block_size=16)
    for family in FAMILIES:
        written = family.program(family.spec(SAMPLE), dtype="float32", limits=limits)
        yield family.name, family.architectures, written
    for encoder in ENCODERS:
        kinds = (("pool", encoder.architectures), ("classes", encoder.classifiers))
        for kind, architectures in kinds:
            spec = encoder.spec({**SAMPLE, **HEADS, "architectures": architectures})
            program = encoder.program(spec, dtype="float32", limits=limits)
            yield f"{encoder.name}, {kind}", architectures, program


def table(rows: Sequence[Row]) -> str:
    """Write the families for people; refusals stand below, each once."""
    platforms = sorted({name for row in rows for name in row.answers})
    notes: dict[str, int] = {}
    cells = [("FAMILY", "ARCHITECTURES", *(name.upper() for name in platforms))]
    for row in rows:
        said = (_cell(row.answers.get(name), notes) for name in platforms)
        cells.append((row.name, ", ".join(row.architectures), *said))
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    if not platforms:
        lines += ["", "No platform finds its device here; `octavo devices` says why."]
    entries = dict.fromkeys(", ".join(row.entries) for row in rows)
    lines += ["", f"entries: {'; or '.join(entries)}"]
    lines += [f"({number}) {words}" for words, number in notes.items()]
    return "\n".join([*lines, "", "Other architectures: `octavo plan MODEL` tells what runs them."])


def _cell(answer: Answer | None, notes: dict[str, int]) -> str:
    if answer is None:
        return ""
    if answer.refusal is not None:
        return f"no ({notes.setdefault(answer.refusal, len(notes) + 1)})"
    if answer.left_out:
        words = f"on the host: {', '.join(answer.left_out)}"
        return f"yes ({notes.setdefault(words, len(notes) + 1)})"
    return "yes"
