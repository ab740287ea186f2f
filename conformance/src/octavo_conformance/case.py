"""Cases: one promise each, as a function that returns if it is kept and raises if not.

    @promise(level=2, area="linear", dtypes=FLOATS)
    def adds_its_bias(bench: Bench, dtype: DType) -> None: ...

A decorated function becomes a tuple of cases, one a dtype. Knows no platform.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from types import ModuleType

from octavo_conformance.bench import Bench
from octavo_platforms.tensor import DType

FLOATS: tuple[DType, ...] = ("float32", "bfloat16", "float16")
Run = Callable[[Bench], None]


@dataclass(frozen=True, slots=True)
class Case:
    """One promise. `dtype` is the one that has to be declared for it to be claimed."""

    level: int
    area: str
    name: str
    sentence: str
    dtype: DType | None
    run: Run

    @property
    def id(self) -> str:
        """Give the name by which reports and `-k` know it."""
        suffix = "" if self.dtype is None else f"[{self.dtype}]"
        return f"{self.level}/{self.area}/{self.name}{suffix}"


def promise(*, level: int, area: str) -> Callable[[Run], tuple[Case, ...]]:
    """Make a case of a function; its docstring is the sentence it proves."""

    def made(run: Run) -> tuple[Case, ...]:
        return (Case(level, area, run.__name__, _sentence(run), None, run),)

    return made


def promise_by_dtype(
    *, level: int, area: str, dtypes: Iterable[DType] = FLOATS
) -> Callable[[Callable[[Bench, DType], None]], tuple[Case, ...]]:
    """Make one case a dtype of a function."""

    def made(run: Callable[[Bench, DType], None]) -> tuple[Case, ...]:
        return tuple(
            Case(level, area, run.__name__, _sentence(run), dtype, partial(_typed, run, dtype))
            for dtype in dtypes
        )

    return made


def cases_in(*modules: ModuleType) -> Iterator[Case]:
    """Walk the cases that modules define, in the order they are written."""
    for module in modules:
        for found in vars(module).values():
            if isinstance(found, tuple):
                yield from (each for each in found if isinstance(each, Case))


def _typed(run: Callable[[Bench, DType], None], dtype: DType, bench: Bench) -> None:
    run(bench, dtype)


def _sentence(run: Callable[..., None]) -> str:
    return (run.__doc__ or "").strip().split("\n")[0]
