"""Whether a checkpoint's tensors are what a model's weights are made from, by shapes and kinds.

Asked before anything is read, so that a checkpoint that belongs to another model costs a look at
its headers and leaves nothing half loaded.

Knows nothing of files' formats, and not what is in a tensor (`finite`).
"""

from __future__ import annotations

from math import prod

import numpy as np

from octavo.errors import ModelError
from octavo.weights.find import Checkpoint
from octavo_platforms.program import WeightDef
from octavo_platforms.recipes import Cut, Given, Join, Once, Part, Recipe, Reorder, Take, taken
from octavo_platforms.tensor import is_float

Shape = tuple[int, ...]

_EMBEDDINGS = ("model.embed_tokens.weight", "embed_tokens.weight")
_ROWS = 64


def check_fit(weight: WeightDef, checkpoint: Checkpoint) -> None:
    """Hold what a weight's recipe takes against what the model expects.

    Raises: ModelError, with file, tensor, and what was expected and found.
    """
    _check_kinds(weight, checkpoint)
    try:
        found = _shape(weight.recipe, checkpoint)
    except _Unfit as unfit:
        raise _other_shape(weight, checkpoint, unfit.names, str(unfit)) from None
    if found != weight.shape:
        names = tuple(taken(weight.recipe))
        told = "" if isinstance(weight.recipe, Take) else f", of which it makes {list(found)}"
        raise _other_shape(weight, checkpoint, names, f"{list(weight.shape)}{told}")


def check_tied(checkpoint: Checkpoint) -> None:
    """Hold a head that is stored though the config ties it to the embedding, by some of its rows.

    Raises: ModelError, where they differ: one of the two is not what the model was made with.
    """
    source, name = checkpoint.source, "lm_head.weight"
    there = set(source.names())
    embedding = next((each for each in _EMBEDDINGS if each in there), None)
    if name not in there or embedding is None:
        return
    stored = [(source.shape(each), source.dtype(each)) for each in (name, embedding)]
    if stored[0] != stored[1]:
        return  # one of them is quantised, or widened
    ours, theirs = source.read(name).array, source.read(embedding).array
    rows = np.linspace(0, len(ours) - 1, min(len(ours), _ROWS)).astype(int)
    if not np.array_equal(ours[rows], theirs[rows]):
        raise ModelError(
            f"{checkpoint.file_of(name)} has the tensor '{name}', which is not '{embedding}', but "
            "the config ties the one to the other ('tie_word_embeddings'). If the model was "
            "trained with a head of its own, say false there; else remove the tensor."
        )


class _Unfit(Exception):
    """A step of a recipe that its input does not fit; says what it expects of which tensors."""

    def __init__(self, recipe: Recipe, expected: str) -> None:
        super().__init__(expected)
        self.names = tuple(taken(recipe))


def _other_shape(
    weight: WeightDef, checkpoint: Checkpoint, names: tuple[str, ...], expected: str
) -> ModelError:
    each = [f"'{name}' of the shape {list(checkpoint.source.shape(name))}" for name in names[:3]]
    and_more = ", ..." if len(names) > 3 else ""
    noun = "tensor" if len(names) == 1 else "tensors"
    return ModelError(
        f"{checkpoint.file_of(names[0])} has the {noun} {', '.join(each)}{and_more}, but for the "
        f"weight '{weight.name}' the model expects {expected}. The files belong to another model "
        "than their config; fetch both from the same revision."
    )


def _check_kinds(weight: WeightDef, checkpoint: Checkpoint) -> None:
    if not is_float(weight.dtype):
        return
    for name in taken(weight.recipe):
        dtype = checkpoint.source.dtype(name)
        if not is_float(dtype):
            raise ModelError(
                f"{checkpoint.file_of(name)}: tensor '{name}' is stored as {dtype}, but the model "
                f"expects real numbers for '{weight.name}'. It may be quantised in a way that is "
                "not built; use the checkpoint that it was made from."
            )


def _shape(recipe: Recipe, checkpoint: Checkpoint) -> Shape:
    """Give the shape of what a recipe makes, without reading."""
    match recipe:
        case Take(name):
            return checkpoint.source.shape(name)
        case Given(values):
            return (len(values),)
        case Cut(part, axis, start, stop):
            return _cut(_shape(part, checkpoint), recipe, axis, (start, stop))
        case Join(parts, axis):
            return _join([_shape(part, checkpoint) for part in parts], recipe, axis)
        case Reorder(part, view, _, shape):
            found = _shape(part, checkpoint)
            if prod(found) != prod(view):
                raise _Unfit(recipe, f"{prod(view)} numbers, to be seen as {list(view)}")
            return shape
        case Part(part, axis, parts, _, _):
            found = _shape(part, checkpoint)
            return (*found[:axis], -(-found[axis] // parts), *found[axis + 1 :])
        case Once(part, _):
            return _shape(part, checkpoint)


def _cut(found: Shape, recipe: Recipe, axis: int, run: tuple[int, int]) -> Shape:
    start, stop = run
    if axis >= len(found) or stop > found[axis]:
        raise _Unfit(recipe, f"at least {stop} along axis {axis}")
    return (*found[:axis], stop - start, *found[axis + 1 :])


def _join(shapes: list[Shape], recipe: Recipe, axis: int) -> Shape:
    others = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
    if len(others) > 1 or any(axis >= len(shape) for shape in shapes):
        raise _Unfit(recipe, f"shapes that are equal but along axis {axis}")
    first = shapes[0]
    return (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])
