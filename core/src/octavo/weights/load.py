"""Loading: a checkpoint's tensors onto a device, with a bar in bytes.

What the checkpoint holds is held against what the program needs before the first byte is
read: a tensor that is missing, one that nobody would use, or one of another shape means that the
model is not the one that was built, and is refused by name. A sample of each weight is looked at
on its way (`finite`); an error gives back what was placed before it.

Knows nothing of file formats (a `Checkpoint` does) nor of packing (`octavo_platforms.place`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from types import MappingProxyType

from octavo.bars import bar
from octavo.errors import ModelError
from octavo.weights.dummy import DummyWeights, drawn_whole
from octavo.weights.find import Checkpoint
from octavo.weights.finite import NotFinite, not_finite
from octavo.weights.fit import check_fit, check_tied
from octavo.weights.quantised import delivered
from octavo.weights.quantised.online import rounded
from octavo_platforms.binding import Binding
from octavo_platforms.place import place
from octavo_platforms.platform import DeviceTensor, Memory
from octavo_platforms.program import ProgramDef, WeightDef
from octavo_platforms.recipes import Recipe, Take, replace_takes, taken
from octavo_platforms.tensor import HostTensor

# Tensors that some checkpoints carry and that are made anew: frequencies, and causal masks.
_DERIVED = re.compile(
    r"(rotary_emb|rotary_pos_emb)\.inv_freq$|\.(attn|attention)\.(masked_)?bias$"
    r"|^rope_(freqs|factors_long|factors_short)\.weight$"
)
# What a tensor is called in files of another age.
_ALIASES: Mapping[str, str] = MappingProxyType({"embed_out.weight": "lm_head.weight"})


NOTHING = r"(?!)"
_BAR_DELAY_S = 0.3
_AHEAD = 3  # weights that the disk is told of before they are read


def from_checkpoint(
    program: ProgramDef, checkpoint: Checkpoint, *, spare: str = NOTHING
) -> ProgramDef:
    """Write the recipes of a program in the names of a checkpoint's own tensors.

    A tensor whose name `spare` is found in may be there without a use.

    Raises: ModelError, for tensors that are missing, that nothing would use, or of another shape
        or kind than the model expects.
    """
    if isinstance(checkpoint.source, DummyWeights):
        return drawn_whole(program)
    there = frozenset(checkpoint.source.names())

    def stored(name: str) -> Recipe:
        return replace_takes(checkpoint.recipe(name), lambda own: Take(_as_stored(own, there)))

    weights = tuple(
        replace(weight, recipe=replace_takes(weight.recipe, stored)) for weight in program.weights
    )
    _check_names(weights, checkpoint, _embeddings_are_tied(program), re.compile(spare))
    for weight in weights:
        check_fit(weight, checkpoint)
    return replace(program, weights=weights)


def load(
    program: ProgramDef, binding: Binding, checkpoint: Checkpoint, memory: Memory
) -> Mapping[str, DeviceTensor]:
    """Place every weight, with a bar on a terminal where tqdm is installed.

    Effects: places all weights, or none where it raises.
    Raises: ModelError, for a tensor of another shape than the model expects, or whose numbers
        are not finite, and for a head that is not the embedding it is tied to.
    """
    if _embeddings_are_tied(program):
        check_tied(checkpoint)
    total = sum(weight.num_bytes for weight in program.weights)
    with (
        bar(total, unit="B", what="weights", is_scaled=True, delay_s=_BAR_DELAY_S) as grown,
        ThreadPoolExecutor(1, thread_name_prefix="ahead") as announcer,
    ):
        coming = iter(program.weights)

        def announce(count: int) -> None:
            for weight in islice(coming, count):
                for name in taken(weight.recipe):
                    checkpoint.ahead(name)

        def on_weight(weight: WeightDef) -> None:
            grown.update(weight.num_bytes)
            announcer.submit(announce, 1)  # a disk with a full queue lets who tells it wait

        def on_made(weight: WeightDef, tensor: HostTensor) -> None:
            if seen := not_finite(tensor):
                raise _not_finite(weight, checkpoint, seen)

        announce(_AHEAD)
        plain = delivered(checkpoint.source, program.weights)
        source = rounded(plain, program, checkpoint.rounding)
        try:
            return place(
                program,
                binding,
                source,
                memory,
                on_made=on_made,
                on_weight=on_weight,
            )
        except ValueError as error:
            raise ModelError(f"{checkpoint.path}: {error}") from error


def _check_names(
    weights: tuple[WeightDef, ...],
    checkpoint: Checkpoint,
    embeddings_are_tied: bool,
    others: re.Pattern[str],
) -> None:
    there = set(checkpoint.source.names())
    needed = {name for weight in weights for name in taken(weight.recipe)}
    missing = sorted(needed - there)
    spare = {"lm_head.weight", "output.weight"} if embeddings_are_tied else set()
    unused = sorted(
        name
        for name in there - needed - spare
        if not _DERIVED.search(name) and not others.search(name)
    )
    if missing:
        has = f" It has {_some(unused)} instead." if unused else ""
        raise ModelError(
            f"{checkpoint.path} lacks {len(missing)} of {len(needed)} tensors: "
            f"{_some(missing)}.{has} The files are incomplete, or belong to another model than "
            "their config."
        )
    if unused:
        raise ModelError(
            f"{checkpoint.path} holds {len(unused)} tensors that this model would not use: "
            f"{_some(unused)}. Its config does not tell the whole truth, or it needs a "
            "feature that is not built."
        )


def _as_stored(name: str, there: Collection[str]) -> str:
    """Give the name that a file has for a tensor.

    A file that was written of a model's body alone leaves out the body's own name, which comes
    first.
    """
    if name in there:
        return name
    within = name.partition(".")[2]
    for other in (_ALIASES.get(name, name), within, _as_of_old(name), _as_of_old(within)):
        if other in there:
            return other
    return name


def _as_of_old(name: str) -> str:
    """Give the name that a norm's tensors have in the first checkpoints of BERT."""
    part = name.replace("LayerNorm.weight", "LayerNorm.gamma")
    return part.replace("LayerNorm.bias", "LayerNorm.beta")


def _not_finite(weight: WeightDef, checkpoint: Checkpoint, seen: NotFinite) -> ModelError:
    """Say which stored tensor is to blame, or that a narrower dtype is."""
    for name in taken(weight.recipe):
        if stored := not_finite(checkpoint.source.read(name)):
            return ModelError(
                f"{checkpoint.file_of(name)}: tensor '{name}' should hold finite numbers, but has "
                f"{stored}. Fetch the file again; if that does not help, it was saved broken."
            )
    return ModelError(
        f"{checkpoint.path}: the weight '{weight.name}' has {seen} in {weight.dtype}, though not "
        "as it is stored: its numbers are too large. Choose another --dtype, such as bfloat16."
    )


def _embeddings_are_tied(program: ProgramDef) -> bool:
    return not any(weight.name == "lm_head.weight" for weight in program.weights)


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown}, ..."
