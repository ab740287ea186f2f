"""Every parameter of sampling on the native program, where the host chooses what it cannot."""

from __future__ import annotations

import pytest

from octavo.testing import shaped
from octavo_cpu.native import platform
from octavo_cpu.native.library import missing
from octavo_platforms.loaded import Platform
from octavo_platforms.tensor import DType

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"{missing()}")

DTYPES: tuple[DType, ...] = ("float32", "bfloat16")


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_token_is_the_one_that_the_reference_chooses(dtype: DType) -> None:
    running = shaped.run_on(Platform(platform), dtype=dtype)
    assert {"sample_cut", "sample_shaped", "tell", "score"}.isdisjoint(running.program.entries)
    asked = shaped.everything()
    del asked["told"]  # which nothing but an entry can score a prompt for
    made = shaped.run(running.engine(vocab_size=shaped.VOCAB, max_in_flight=2), asked)
    assert shaped.who_is_wrong(running, asked, made) == []
    running.program.close()
