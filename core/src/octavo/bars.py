"""Progress bars: one for any long work, drawn on a terminal where tqdm is installed.

Knows nothing of what is counted.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol


class Bar(Protocol):
    """A bar that grows."""

    def update(self, n: float | None = ...) -> bool | None:
        """Grow by n."""
        ...

    def set_postfix_str(self, s: str, refresh: bool = ...) -> None:
        """Say something behind the bar."""
        ...


def bar(
    total: int,
    *,
    unit: str,
    what: str,
    is_scaled: bool = False,
    shown: bool | None = None,
    delay_s: float = 0.0,
) -> AbstractContextManager[Bar]:
    """Open a bar; `shown` None draws it on terminals only, False never.

    It is not drawn before `delay_s` have passed: what is done by then needs none.
    """
    if shown is False:
        return _NoBar()
    try:
        from tqdm import tqdm
    except ImportError:
        return _NoBar()
    made: AbstractContextManager[Bar] = tqdm(
        total=total,
        unit=unit,
        desc=what,
        unit_scale=is_scaled,
        disable=None if shown is None else False,
        dynamic_ncols=True,
        delay=delay_s,
    )
    return made


class _NoBar:
    """A bar that nobody sees."""

    def update(self, n: float | None = 1) -> bool | None:
        return None

    def set_postfix_str(self, s: str, refresh: bool = True) -> None:
        pass

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass
