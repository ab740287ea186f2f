"""Entries with inputs and groups of their own on a device that compiles each new shape."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from octavo.testing.drive import Running
from octavo_conformance.toy_encoders import PROMPTS, SOURCES, crossing, ids, mixing, picture
from octavo_emulated import emulated
from octavo_emulated.emulator import Emulator
from octavo_emulated.launches import Recipes
from octavo_emulated.watched import WatchedProgram
from octavo_platforms.loaded import Platform


def warm(running: Running) -> Recipes:
    assert isinstance(running.program, WatchedProgram)
    running.program.warm_up(lambda stage, done, total: None)
    return running.program.recipes


def test_rows_among_tokens_bring_no_new_shape_after_warming_up(emulator: Emulator) -> None:
    toy = mixing(Platform(emulated()))
    pictures = (picture(2, (2, 3), 1, 1), picture(1, (2, 2), 2, 7))
    cold = mixing(Platform(emulated()))
    for each in (toy, cold):
        each.encode(pictures)
    recipes = warm(toy.running)
    for chunk in (9, 4, 1):
        assert toy.generate(pictures, chunk=chunk) == cold.generate(pictures)
    assert recipes.num_launches > len(recipes.known)
    assert recipes.new_since_warm_up == set()


def test_sources_of_any_length_bring_no_new_shape_after_warming_up(emulator: Emulator) -> None:
    toy = crossing(Platform(emulated()))
    sources = [ids(f"source {length}", length) for length in SOURCES]
    prompts = [ids(f"prompt {length}", length) for length in PROMPTS]
    counts = (1, 2, 3)
    for count in counts:
        toy.encode(sources[:count])  # `step` is warmed up, `encode` is not
    recipes = warm(toy.running)
    for count in counts:
        toy.decode(sources[:count], prompts[:count])
    assert recipes.num_launches > len(recipes.known)
    assert recipes.new_since_warm_up == set()
