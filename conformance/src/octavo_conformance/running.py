"""Running: one case after the other, each ending in a verdict, none stopping the next.

A refusal in words and a broken promise are FAIL; any other exception is CRASH. Knows nothing
of what cases prove or of how results are shown.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from octavo_conformance.bench import Bench, Device
from octavo_conformance.case import Case
from octavo_conformance.subject import Subject
from octavo_conformance.verdict import Failed, NotClaimed, Result, Verdict
from octavo_platforms.errors import PlatformError

EXAMPLES, FAST_EXAMPLES = 20, 4
LAUNCH_DTYPES = ("int32", "uint32")  # what a launch brings, on every platform
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Found:
    """A verdict and its reason, and the exception behind it for those who show tracebacks."""

    verdict: Verdict
    detail: str = ""
    error: BaseException | None = None


class Runner:
    """Runs cases on one subject's device. `is_fast` tries laws on fewer examples."""

    def __init__(self, subject: Subject, *, is_fast: bool = False) -> None:
        self.subject = subject
        self._examples = FAST_EXAMPLES if is_fast else EXAMPLES
        self._device = Device(subject)

    def try_case(self, case: Case) -> Found:
        """Run one case to its verdict; raises nothing."""
        bench = Bench(self.subject, self._device, self._examples)
        try:
            reason = self._obstacle(case)
            if reason is not None:
                return reason
            case.run(bench)
        except NotClaimed as nothing:
            return Found(Verdict.NOT_CLAIMED, str(nothing))
        except (Failed, PlatformError) as failure:
            return Found(Verdict.FAIL, _words(failure), failure)
        except Exception as error:
            return Found(Verdict.CRASH, f"{_words(error)} ({_place(error)})", error)
        finally:
            with suppress(Exception):
                bench.close()
        if bench.foreign:
            return Found(Verdict.FALLBACK, ", ".join(sorted(bench.foreign)))
        return Found(Verdict.PASS)

    def close(self) -> None:
        """Close the device."""
        self._device.close()

    def _obstacle(self, case: Case) -> Found | None:
        if case.level == 0:
            return None
        platform = self._device.platform
        promised = (*platform.info.dtypes, *LAUNCH_DTYPES)
        if case.dtype is not None and case.dtype not in promised:
            return Found(Verdict.NOT_CLAIMED, f"{case.dtype} is not among its dtypes")
        probe = platform.probe()
        if not probe.found:
            return Found(Verdict.ENV, probe.words)
        return None


def run(
    subject: Subject,
    cases: Iterable[Case],
    *,
    is_fast: bool = False,
    clock: Clock = time.perf_counter,
) -> Iterator[Result]:
    """Run cases in this process; gives each result as soon as it is there."""
    runner = Runner(subject, is_fast=is_fast)
    try:
        for case in cases:
            before = clock()
            found = runner.try_case(case)
            seconds = clock() - before
            yield Result(case.id, case.level, case.area, found.verdict, found.detail, seconds)
    finally:
        runner.close()


def _words(error: BaseException) -> str:
    kind = "" if isinstance(error, Failed) else f"{type(error).__name__}: "
    notes = [note for note in getattr(error, "__notes__", []) if note.strip()]
    return " | ".join([f"{kind}{error}", *(" ".join(note.split()) for note in notes)])


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "no place"
