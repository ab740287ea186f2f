"""Recurrent states on a device that is not the host: no waiting, and no shape after warming up."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from octavo import SamplingParams
from octavo.models.decoder import Limits
from octavo.testing.drive import generate, run_on
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import llama, recurrent
from octavo_emulated import emulated
from octavo_emulated.emulator import Emulator
from octavo_emulated.watched import WatchedProgram
from octavo_platforms.loaded import Platform

VOCAB = 101
LIMITS = Limits(max_step_tokens=16, max_requests=4, max_blocks=4, block_size=4)


def test_scans_compile_nothing_new_once_they_are_warm(emulator: Emulator) -> None:
    toy = recurrent.program(llama.spec(), limits=LIMITS)
    running = run_on(Platform(emulated()), toy, RandomWeights(toy), num_blocks=20)
    program = running.program
    assert isinstance(program, WatchedProgram)
    engine = running.engine(vocab_size=VOCAB)
    program.warm_up(lambda *report: None)
    before = program.recipes.num_launches
    draw = np.random.default_rng(0)
    prompts = [draw.integers(0, VOCAB, length).tolist() for length in (3, 11, 1, 7, 5)]
    params = SamplingParams(temperature=0.0, max_tokens=4, ignore_eos=True)
    outputs = generate(engine, prompts, params)
    assert [len(output) for output in outputs] == [4] * len(prompts)
    assert program.recipes.num_launches > before
    assert program.recipes.new_since_warm_up == set()
