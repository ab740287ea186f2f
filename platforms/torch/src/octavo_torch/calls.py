"""Calls: a bound graph as a flat list, to be run with as little of Python as there can be.

Each value of the graph has a place in one list. What is constant is put there when the
program is compiled; a launch copies the list, fills the inputs in and walks the calls, each
of which takes its arguments from their places and puts its results into theirs. A value is
let go of at its last use.

Knows nothing of launches or of what the kernels do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from octavo_platforms.binding import BoundEntry
from octavo_platforms.graph import Node, Value
from octavo_platforms.inputs import StepInputs
from octavo_platforms.platform import Run

Values = list[object]
Call = Callable[[Values], None]
Prepare = Callable[[StepInputs], object]


@dataclass(frozen=True, slots=True)
class Calls:
    """One entry, flat: what is constant, what to prepare and where to, what to call."""

    constants: tuple[object, ...]
    prepares: tuple[tuple[int, Prepare], ...]
    calls: tuple[Call, ...]
    outputs: tuple[tuple[str, Value], ...]

    def run(self, given: Mapping[int, object]) -> dict[str, object]:
        """Run the entry on values by place, what was prepared among them; give outputs by name."""
        values = list(self.constants)
        for place, value in given.items():
            values[place] = value
        for call in self.calls:
            call(values)
        return {name: values[place] for name, place in self.outputs}


def flat(entry: BoundEntry, constants: Mapping[Value, object]) -> Calls:
    """Flatten an entry. `constants` are its leaves that are no inputs."""
    graph = entry.graph
    places: Values = [constants.get(Value(value)) for value in range(len(graph.types))]
    prepares: list[tuple[int, Prepare]] = []
    place_of: dict[int, int] = {}
    dying = _last_uses(entry, constants)
    calls: list[Call] = []
    for node, choice, dead in zip(graph.nodes, entry.choices, dying, strict=True):
        kernel, prepared = choice.to_call(), None
        if kernel.prepare is not None:
            if id(kernel.prepare) not in place_of:
                place_of[id(kernel.prepare)] = len(places)
                prepares.append((len(places), kernel.prepare))
                places.append(None)
            prepared = place_of[id(kernel.prepare)]
        calls.append(_call(kernel.run, node, dead, prepared=prepared))
    return Calls(tuple(places), tuple(prepares), tuple(calls), graph.outputs)


def _last_uses(entry: BoundEntry, constants: Mapping[Value, object]) -> list[tuple[Value, ...]]:
    """Give, for each node, the values that nobody reads after it."""
    needed = {value for _, value in entry.graph.outputs} | constants.keys()
    found: list[tuple[Value, ...]] = []
    for node in reversed(entry.graph.nodes):
        dead = tuple({*node.inputs, *node.outputs} - needed)
        needed.update(dead)
        found.append(dead)
    return found[::-1]


def _call(run: Run, node: Node, dead: Sequence[Value], *, prepared: int | None) -> Call:
    outputs, take = node.outputs, _taker(node.inputs)
    if prepared is not None:
        run = _with_prepared(run)
        take = _taker([*node.inputs, Value(prepared)])
    if len(outputs) == 1:
        (place,) = outputs

        def one(values: Values) -> None:
            values[place] = run(*take(values))
            for at in dead:
                values[at] = None

        return one

    def several(values: Values) -> None:
        made = run(*take(values))
        if made is not None:
            assert isinstance(made, tuple)
            for at, value in zip(outputs, made, strict=True):
                values[at] = value
        for at in dead:
            values[at] = None

    return several


def _taker(places: Sequence[Value]) -> Callable[[Values], tuple[object, ...]]:
    if len(places) > 1:
        return itemgetter(*places)
    first = slice(places[0], places[0] + 1) if places else slice(0, 0)
    return itemgetter(first)


def _with_prepared(run: Run) -> Run:
    def called(*given: object) -> object:
        return run(*given[:-1], prepared=given[-1])

    return called
