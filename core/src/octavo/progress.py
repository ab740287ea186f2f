"""The bar of `LLM.generate`: requests done, and tokens a second going in and coming out.

Does not know the engine, nor how a bar is drawn.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from octavo.bars import bar
from octavo.outputs import OutputText


class Progress:
    """A bar over some requests, from entering to leaving a `with`."""

    def __init__(
        self, total: int, *, shown: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._opened = bar(total, unit="req", what="generating", shown=shown)
        self._bar = self._opened.__enter__()
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
        passed_s = max(self._clock() - self._began, 1e-9)
        rates = f"in {self._num_in / passed_s:.0f} tok/s, out {self._num_out / passed_s:.0f} tok/s"
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
        self._opened.__exit__(kind, error, trace)
