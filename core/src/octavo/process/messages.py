"""What is said across the process boundary: every message, as plain data.

    client to engine   Hello, Add, Abort, Control, Stop
    engine to client   Said, Ready, NotStarted, Made, Refused, StatsTold, Failed

A step's news are one message, arrays side by side, however many requests it served. A request
has a number, which its client chose; numbers of different clients never meet. An error travels as
a `Fault` and becomes an error of the same kind on the other side.

Does not know what carries a message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import numpy.typing as npt

from octavo import sampling
from octavo.asking import SamplingParams
from octavo.engine import Stats
from octavo.errors import ClientError, InternalError, LaterError, OctavoError, OperatorError
from octavo.request import CacheKeys, FinishReason
from octavo.scheduler.pausing import PauseMode
from octavo.step import Logprobs, Scored
from octavo.wire import Wire
from octavo_platforms.errors import PlatformError
from octavo_platforms.inputs import Ints

Verb = Literal["stats", "pause", "resume", "drain", "reset"]

REASONS: tuple[FinishReason, ...] = ("stop", "length", "abort", "error")
"""How a request ended, by the small number that says so in `Made`."""


@dataclass(frozen=True, slots=True)
class Hello:
    """A client is here, and wants to know when the model is ready."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, under the number that its client knows it by.

    `prompt_ids` are None where they are those of the request before it in its group.
    """

    number: int
    prompt_ids: Ints | None
    params: sampling.SamplingParams
    cache_keys: CacheKeys
    priority: int


@dataclass(frozen=True, slots=True)
class Add:
    """Requests that came together; of several such groups each is served in turn."""

    asks: tuple[Ask, ...]


@dataclass(frozen=True, slots=True)
class Abort:
    """Requests whose output nobody wants any more."""

    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Control:
    """Something to be done to the engine as a whole; `ticket` comes back when it is done.

    "stats" does nothing; "pause" in a `mode` is done when the engine rests, "drain", which takes
    nothing new, when it has nothing left; "resume" ends both; "reset" forgets what is remembered
    of prompts, and with `also_running` has those who run compute theirs anew.
    """

    ticket: int
    verb: Verb
    mode: PauseMode = "abort"
    also_running: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """The engine is to end, from whoever started it."""


@dataclass(frozen=True, slots=True)
class Said:
    """A stage of loading began."""

    line: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What a client must know of the model. `source` is the path of its checkpoint."""

    model_name: str
    source: str
    plan: str
    max_context_tokens: int
    max_requests: int
    eos_ids: tuple[int, ...]
    default_sampling: SamplingParams


@dataclass(frozen=True, slots=True)
class Ready:
    """The model answers from now on."""

    facts: Facts


@dataclass(frozen=True, slots=True)
class Fault:
    """An error on its way to the other side."""

    kind: Literal["client", "later", "operator", "internal"]
    message: str
    param: str | None = None
    status: int | None = None
    type: str | None = None
    code: str | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The model could not be loaded; the engine ends."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class Made:
    """What one step made for one client.

    Shapes: `tokens` [N], one for each of `numbers` [N]; `ended` [F], with their last token or, when
        somebody else ended them, without, and
        `reasons` [F], indices into `REASONS`; `began` [A], which got their first token, with
        `cached` [A], the prompt tokens that were not computed for them. `logprobs` are of the
        tokens, None where nobody wants them; `scored` tells of prompts, by number.
    """

    numbers: npt.NDArray[np.int64]
    tokens: Ints
    ended: npt.NDArray[np.int64]
    reasons: npt.NDArray[np.int8]
    began: npt.NDArray[np.int64]
    cached: Ints
    logprobs: Logprobs | None
    scored: tuple[tuple[int, Scored], ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """Requests that the engine did not take."""

    numbers: tuple[int, ...]
    fault: Fault


@dataclass(frozen=True, slots=True)
class StatsTold:
    """What a control asked for is done; the engine's books, and who stands before its queue."""

    ticket: int
    stats: Stats
    num_queued: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The engine broke in a step; everything that was open is lost, and it ends."""

    reason: str


FromClient = Hello | Add | Abort | Control | Stop
FromEngine = Said | Ready | NotStarted | Made | Refused | StatsTold | Failed


def wire_of_clients() -> Wire[FromClient]:
    """Make what turns clients' messages into frames and back."""
    return Wire[FromClient]([Hello, Add, Abort, Control, Stop])


def wire_of_engines() -> Wire[FromEngine]:
    """Make what turns engines' messages into frames and back."""
    return Wire[FromEngine]([Said, Ready, NotStarted, Made, Refused, StatsTold, Failed])


def plain_sampling(params: sampling.SamplingParams) -> sampling.SamplingParams:
    """Give what the engine must know of a request's sampling, without what only text knows."""
    names = [field.name for field in fields(sampling.SamplingParams)]
    return sampling.SamplingParams(**{name: getattr(params, name) for name in names})


def fault_of(error: Exception) -> Fault:
    """Write an error down."""
    message = str(error)
    if isinstance(error, ClientError):
        return Fault(
            "client",
            message,
            param=error.param,
            status=error.status,
            type=error.kind,
            code=error.code,
        )
    if isinstance(error, LaterError):
        return Fault("later", message, retry_after_s=error.retry_after_s)
    if isinstance(error, InternalError):
        return Fault("internal", message)
    if isinstance(error, OctavoError | PlatformError):
        return Fault("operator", message)
    return Fault("internal", describe(error))


def error_of(fault: Fault) -> OctavoError:
    """Make the error that was written down."""
    if fault.kind == "client":
        error = ClientError(fault.message, param=fault.param)
        error.status = fault.status or error.status
        error.kind = fault.type or error.kind
        error.code = fault.code
        return error
    if fault.kind == "later":
        return LaterError(fault.message, retry_after_s=fault.retry_after_s)
    if fault.kind == "operator":
        return OperatorError(fault.message)
    return InternalError(fault.message)


def describe(failure: BaseException) -> str:
    """Name a failure in one line, without its traceback."""
    lines: Sequence[str] = str(failure).splitlines()
    return f"{type(failure).__name__}: {lines[0]}" if lines else type(failure).__name__
