"""The plugin object: what it imports, refuses, and asks of those who override its kernels."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("jax")

from octavo.testing.drive import run_on
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import llama
from octavo_jax import JaxPlatform
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.errors import CannotStart
from octavo_platforms.hooks import hookimpl
from octavo_platforms.loaded import Platform
from octavo_platforms.platform import Kernel
from octavo_platforms.specs import OpSpec

IMPORTS = """
import sys
from octavo_jax import platform
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.loaded import Platform
found = Platform(platform)
found.probe(), found.discover_devices()
assert "jax" not in sys.modules, "listing the platform imported jax"
found.open_device((0,), DeviceSettings())
assert "jax" in sys.modules, "opening the platform did not import jax"
assert "torch" not in sys.modules, "opening the platform imported torch"
"""


class Brings:
    """An override that has one kernel of its own."""

    def __init__(self, op: str, kernel: Kernel) -> None:
        self._op, self._kernel = op, kernel

    @hookimpl
    def bind_op(self, spec: OpSpec) -> Kernel | None:
        return self._kernel if spec.op == self._op else None


def acme(*overrides: object) -> Platform:
    return Platform(JaxPlatform(name="acme", device="cpu", vendor="Acme", overrides=overrides))


def logits(platform: Platform, prompt: Sequence[int]) -> npt.NDArray[np.float32]:
    toy = llama.program(llama.spec())
    return run_on(platform, toy, RandomWeights(toy)).logits(prompt)


def test_jax_is_imported_when_a_device_is_opened_and_torch_never() -> None:
    subprocess.run([sys.executable, "-c", IMPORTS], check=True, timeout=120)


@pytest.mark.parametrize("settings", [DeviceSettings(mode="fast"), DeviceSettings(threads=1)])
def test_settings_that_change_nothing_are_refused(settings: DeviceSettings) -> None:
    with pytest.raises(CannotStart):
        acme().open_device((0,), settings)


def test_runtime_that_is_not_there_is_refused_in_words() -> None:
    missing = Platform(JaxPlatform(name="acme", device="abacus", vendor="Acme"))
    with pytest.raises(CannotStart, match="abacus:0"):
        missing.open_device((0,), DeviceSettings())


def test_kernel_that_prepares_on_the_host_is_refused_by_name() -> None:
    kernel = Kernel(name="acme.silu", run=lambda x: x, prepare=lambda inputs: None)
    with pytest.raises(CannotStart, match=r"acme\.silu"):
        logits(acme(Brings("silu", kernel)), [1, 2])


def test_kernel_that_forgets_what_it_wrote_is_told_by_name() -> None:
    toy = llama.program(llama.spec())
    kernel = Kernel(name="acme.scatter", run=lambda buffer, rows, values: None)
    running = run_on(acme(Brings("scatter_rows", kernel)), toy, RandomWeights(toy))
    with pytest.raises(TypeError, match=r"acme\.scatter"):
        running.program.warm_up(lambda stage, done, total: None)


def test_kernel_of_another_dtype_than_declared_is_told_by_name() -> None:
    kernel = Kernel(name="acme.mul", run=lambda a, b: (a * b).astype("bfloat16"))
    with pytest.raises(TypeError, match=r"acme\.mul"):
        logits(acme(Brings("mul", kernel)), [1, 2])


def test_override_is_run_in_place_of_the_kernel_of_the_base() -> None:
    zero = Kernel(name="acme.mul", run=lambda a, b: a * 0)
    plain, changed = logits(acme(), [1, 2]), logits(acme(Brings("mul", zero)), [1, 2])
    assert not np.array_equal(plain, changed)
