"""Every parameter of sampling on a device that is strict: nothing waits, everything is padded."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import octavo_emulated
from octavo.testing import shaped
from octavo_platforms.loaded import Platform


def test_every_token_is_the_one_that_the_reference_chooses() -> None:
    running = shaped.run_on(Platform(octavo_emulated.platform))
    engine = running.engine(vocab_size=shaped.VOCAB, max_in_flight=2)
    asked = shaped.everything()
    made = shaped.run(engine, asked)
    assert shaped.who_is_wrong(running, asked, made) == []
