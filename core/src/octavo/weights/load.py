"""Loading: a checkpoint's tensors onto a device, with a bar in bytes.

What the checkpoint holds is held against what the program needs before the first byte is
read: a tensor that is missing, or one that nobody would use, means that the model is not the
one that was built, and is refused by name.

Knows nothing of file formats (a `Checkpoint` does) nor of packing (`octavo_platforms.place`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from octavo.bars import bar
from octavo.errors import ModelError
from octavo.weights.find import Checkpoint
from octavo_platforms.binding import Binding
from octavo_platforms.place import place
from octavo_platforms.platform import DeviceTensor, Memory
from octavo_platforms.program import ProgramDef, WeightDef
from octavo_platforms.recipes import replace_takes, taken

# Tensors that some checkpoints carry and that are made anew from the config.
_DERIVED = re.compile(r"rotary_emb\.inv_freq$|rotary_pos_emb\.inv_freq$")


def from_checkpoint(program: ProgramDef, checkpoint: Checkpoint) -> ProgramDef:
    """Write the recipes of a program in the names of a checkpoint's own tensors.

    Raises: ModelError, for tensors that are missing, and for tensors that nothing would use.
    """
    weights = tuple(
        replace(weight, recipe=replace_takes(weight.recipe, checkpoint.recipe))
        for weight in program.weights
    )
    _check_names(weights, checkpoint, _embeddings_are_tied(program))
    return replace(program, weights=weights)


def load(
    program: ProgramDef, binding: Binding, checkpoint: Checkpoint, memory: Memory
) -> Mapping[str, DeviceTensor]:
    """Place every weight, with a bar on a terminal where tqdm is installed.

    Raises: ModelError, for a tensor of another shape than the model expects.
    """
    total = sum(weight.num_bytes for weight in program.weights)
    with bar(total, unit="B", what="weights", is_scaled=True) as grown:

        def on_weight(weight: WeightDef) -> None:
            grown.update(weight.num_bytes)

        try:
            return place(program, binding, checkpoint.source, memory, on_weight=on_weight)
        except ValueError as error:
            raise ModelError(f"{checkpoint.path}: {error}") from error


def _check_names(
    weights: tuple[WeightDef, ...], checkpoint: Checkpoint, embeddings_are_tied: bool
) -> None:
    there = set(checkpoint.source.names())
    needed = {name for weight in weights for name in taken(weight.recipe)}
    missing = sorted(needed - there)
    if missing:
        raise ModelError(
            f"{checkpoint.path} lacks {len(missing)} of {len(needed)} tensors: "
            f"{_some(missing)}. The files are incomplete, or belong to another model than "
            "their config."
        )
    spare = {"lm_head.weight", "output.weight"} if embeddings_are_tied else set()
    unused = sorted(name for name in there - needed - spare if not _DERIVED.search(name))
    if unused:
        raise ModelError(
            f"{checkpoint.path} holds {len(unused)} tensors that this model would not use: "
            f"{_some(unused)}. Its config does not tell the whole truth, or it needs a "
            "feature that is not built."
        )


def _embeddings_are_tied(program: ProgramDef) -> bool:
    return not any(weight.name == "lm_head.weight" for weight in program.weights)


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown}, ..."
