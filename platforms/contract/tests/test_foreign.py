"""Foreign models: whoever is asked first and can, runs one; every refusal is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from octavo_platforms.capabilities import DeviceInfo, PlatformInfo
from octavo_platforms.errors import CannotBind
from octavo_platforms.foreign import ForeignAttention, ForeignModel, ForeignSpec
from octavo_platforms.hooks import hookimpl
from octavo_platforms.loaded import Platform
from octavo_platforms.platform import Program, Unsupported
from octavo_platforms.specs import CompileSpec

HERE = __name__.partition(".")[0]
SPEC = ForeignSpec(path=Path("nowhere"), config={"architectures": ["Own"]})


class Context:
    """A device that nobody looks at."""

    devices: tuple[DeviceInfo, ...] = ()

    def close(self) -> None:
        pass


def unread(spec: CompileSpec) -> Program:
    raise AssertionError("nobody loads here")


MODEL = ForeignModel(
    name="Own",
    words="a test",
    vocab_size=8,
    max_context_tokens=16,
    num_weights=0,
    attention=ForeignAttention(layers=1, num_heads=1, num_kv_heads=1, head_width=4, scale=0.5),
    load=unread,
)


class Answering:
    """A plugin object that answers with what it was made of."""

    def __init__(self, answer: ForeignModel | Unsupported | None) -> None:
        self._answer = answer

    @hookimpl
    def bind_model(self, spec: ForeignSpec) -> ForeignModel | Unsupported | None:
        assert spec is SPEC
        return self._answer


class Plugin:
    """A platform of nothing but its overrides."""

    def __init__(self, *overrides: object) -> None:
        self.overrides = overrides

    @hookimpl
    def platform_info(self) -> PlatformInfo:
        return PlatformInfo(name="acme", device="none", vendor="none", dtypes=("float32",))


def test_the_first_that_can_run_a_model_does() -> None:
    later = replace(MODEL, name="Later")
    answers = (None, Unsupported("not I"), MODEL, later)
    platform = Platform(Plugin(*(Answering(each) for each in answers)))
    assert platform.bind_model(SPEC, Context()) is MODEL


def test_every_refusal_is_told_with_who_gave_it() -> None:
    answers = (Unsupported("too wide"), None, Unsupported("too deep"))
    platform = Platform(Plugin(*(Answering(each) for each in answers)))
    with pytest.raises(CannotBind, match=f"'acme'.*{HERE}: too wide; {HERE}: too deep"):
        platform.bind_model(SPEC, Context())


def test_a_platform_without_the_hook_runs_graphs_alone() -> None:
    with pytest.raises(CannotBind, match="it runs graphs alone"):
        Platform(Plugin()).bind_model(SPEC, Context())
