"""The bar of `LLM.generate`: requests done, and tokens a second going in and coming out.

Does not know the engine. Where tqdm is not installed, there is no bar.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from octavo.outputs import OutputText


class _Bar(Protocol):
    def set_postfix_str(self, s: str, refresh: bool = ...) -> None: ...
    def update(self, n: float | None = ...) -> bool | None: ...
    def close(self) -> None: ...


class Progress:
    """A bar over some requests, from entering to leaving a `with`."""

    def __init__(
        self, total: int, *, shown: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bar = _bar(total) if shown else None
        self._clock = clock
        self._began = clock()
        self._num_in = 0
        self._num_out = 0

    def ended(self, output: OutputText) -> None:
        """Count a request that has ended.

        Effects: redraws the bar, at most as often as tqdm thinks right.
        """
        self._num_in += output.request.num_prompt_tokens
        self._num_out += len(output.token_ids)
        if self._bar is not None:
            passed_s = max(self._clock() - self._began, 1e-9)
            rates = (
                f"in {self._num_in / passed_s:.0f} tok/s, out {self._num_out / passed_s:.0f} tok/s"
            )
            self._bar.set_postfix_str(rates, refresh=False)
            self._bar.update(1)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def _bar(total: int) -> _Bar | None:
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    bar: _Bar = tqdm(total=total, unit="req", desc="generating", dynamic_ncols=True)
    return bar
