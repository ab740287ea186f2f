"""Weights of experts, which are one tensor here and may be many in a checkpoint: as recipes.

    gate_up_proj   [X, 2F, E]     gate above up, for each expert
    down_proj      [X, E, F]

Nothing is read here. Knows no family and no file format.
"""

from __future__ import annotations

from collections.abc import Mapping

from octavo.models.experts import ExpertSpec
from octavo.models.naming import Made, at
from octavo_platforms.recipes import Join, Recipe, Reorder, Take

GATE_UP, DOWN = "mlp.experts.gate_up_proj", "mlp.experts.down_proj"


def numbered(
    experts: ExpertSpec,
    model_width: int,
    *,
    place: str = "mlp.experts",
    gate: str = "gate_proj",
    up: str = "up_proj",
    down: str = "down_proj",
) -> Mapping[str, Made]:
    """Find each expert's three weights as tensors of their own, under its number."""

    def stacked(names: tuple[str, ...], shape: tuple[int, int]) -> Made:
        def made(layer: str, suffix: str) -> Recipe:
            parts = tuple(
                Take(f"{layer}{place}.{expert}.{name}.{suffix}")
                for expert in range(experts.count)
                for name in names
            )
            view = (experts.count, *shape)
            return Reorder(Join(parts), view, (0, 1, 2), view)

        return made

    return {
        GATE_UP: stacked((gate, up), (2 * experts.width, model_width)),
        DOWN: stacked((down,), (model_width, experts.width)),
    }


def woven(experts: ExpertSpec, model_width: int, gate_up: str, down: str) -> Mapping[str, Made]:
    """Find the weights of all experts stored as [X, E, 2F] and [X, F, E], gate and up woven.

    Biases are [X, 2F], as woven, and [X, E], under the names of the weights with `_bias` behind.
    """
    count, width = experts.count, experts.width

    def gates(layer: str, suffix: str) -> Recipe:
        if suffix == "bias":
            stored, view, shape = f"{gate_up}_bias", (count, width, 2), (count, 2 * width)
            return Reorder(Take(f"{layer}{stored}"), view, (0, 2, 1), shape)
        four = (count, model_width, width, 2)
        shape3 = (count, 2 * width, model_width)
        return Reorder(Take(f"{layer}{gate_up}"), four, (0, 3, 2, 1), shape3)

    def downs(layer: str, suffix: str) -> Recipe:
        if suffix == "bias":
            return Take(f"{layer}{down}_bias")
        view = (count, width, model_width)
        return Reorder(Take(f"{layer}{down}"), view, (0, 2, 1), (count, model_width, width))

    return {GATE_UP: gates, DOWN: downs}


def whole(gate_up: str, down: str) -> Mapping[str, Made]:
    """Find the weights of all experts as they are here, under other names."""
    return {GATE_UP: at(gate_up), DOWN: at(down)}
