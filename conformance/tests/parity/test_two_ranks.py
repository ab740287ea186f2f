"""Families that ranks share are what they are on one, and what transformers says they are.

Each rank is a thread of this process with its own part of a checkpoint. What a family has beside
layers that every model has is what is looked at: sinks, slopes, experts, latents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from octavo.testing.drive import Running
from octavo_platforms import discover
from octavo_platforms.capabilities import DeviceSettings

from .families import ROWS
from .measured import CHUNK_TOKENS, EXACT, LIMITS, prompts
from .reference import Logits, ours, reference_logits

RANKS = 2
EXPERTS = ("mlp.experts.gate_up_proj.weight", "mlp.experts.down_proj.weight")
SHARED: Mapping[str, Sequence[str]] = {
    "gpt_oss: plain": (*EXPERTS, "self_attn.sinks.weight", "mlp.experts.gate_up_proj.bias"),
    "phimoe: longrope, short, biases": ("self_attn.o_proj.weight", *EXPERTS),
    "qwen2_moe: plain": ("mlp.shared_expert.down_proj.weight", *EXPERTS),
    "ministral3: plain": ("self_attn.o_proj.weight",),
    "deepseek_v3: plain": ("self_attn.kv_b_proj.weight", *EXPERTS),
    "qwen3_next: plain": EXPERTS,
    "falcon: alibi, one KV head": ("self_attn.slopes", "mlp.down_proj.weight"),
    "bloom: plain": ("self_attn.slopes", "mlp.up_proj.bias"),
}


@pytest.mark.parametrize("name", SHARED)
def test_two_ranks_give_the_logits_of_one_and_of_transformers(name: str, tmp_path: Path) -> None:
    (row,) = (each for each in ROWS if each.name == name)
    exact = reference_logits(row.write(tmp_path), prompts()[1])
    alone, first, second = one(tmp_path), *two(tmp_path)
    for running, found in (first, second):
        for weight in SHARED[name]:
            assert num_bytes(running, weight) * RANKS == num_bytes(alone[0], weight)
        assert np.abs(found - alone[1]).max() <= EXACT * exact.std()
        assert np.abs(found - exact).max() <= EXACT * exact.std()
    assert np.array_equal(first[1], second[1])


def one(folder: Path) -> tuple[Running, Logits]:
    """Load a checkpoint on one rank, and give the logits after a prompt in parts."""
    return member(folder, DeviceSettings(threads=1))


def two(folder: Path) -> list[tuple[Running, Logits]]:
    """Do the same on each of two ranks."""
    settings = [
        DeviceSettings(threads=1, rank=rank, ranks=RANKS, rendezvous=f"file://{folder / 'meeting'}")
        for rank in range(RANKS)
    ]
    with ThreadPoolExecutor(RANKS) as pool:
        return list(pool.map(lambda own: member(folder, own), settings))


def member(folder: Path, settings: DeviceSettings) -> tuple[Running, Logits]:
    """Run one rank."""
    running = ours(folder, discover.load("cpu"), limits=LIMITS, settings=settings)
    return running, running.logits(prompts()[1], chunk=CHUNK_TOKENS)


def num_bytes(running: Running, weight: str) -> int:
    """Tell how large a rank's part of a weight of the second layer is."""
    name = f"model.layers.1.{weight}"
    (found,) = (each for each in running.definition.weights if each.name == name)
    return found.num_bytes
