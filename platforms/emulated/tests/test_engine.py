"""The torch base on a device that is not the host: right tokens, no waiting, no new shapes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from octavo.models.decoder import Limits
from octavo.request import Request
from octavo.sampling import SamplingParams
from octavo.testing.drive import Running, generate, run_on
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import llama
from octavo.testing.traffic import follow, traffic
from octavo_conformance.oracle.platform import OraclePlatform
from octavo_emulated import emulated
from octavo_emulated.emulator import Emulator
from octavo_emulated.launches import Recipes
from octavo_emulated.watched import WatchedProgram
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.hooks import hookimpl
from octavo_platforms.loaded import Platform
from octavo_platforms.platform import Kernel
from octavo_platforms.specs import OpSpec
from octavo_torch.context import opened
from octavo_torch.results import launched

VOCAB = 101
TOY = llama.program(
    llama.spec(),
    limits=Limits(max_step_tokens=64, max_requests=6, max_blocks=16, block_size=4),
)


def started(*overrides: object, is_bucketed: bool = True) -> Running:
    platform = Platform(emulated(is_bucketed=is_bucketed, overrides=overrides))
    return run_on(platform, TOY, RandomWeights(TOY), num_blocks=60)


@pytest.fixture(scope="module")
def running(emulator: Emulator) -> Running:
    return started()


@pytest.fixture(scope="module")
def oracle() -> Running:
    return run_on(Platform(OraclePlatform()), TOY, RandomWeights(TOY), num_blocks=60)


def recipes(running: Running) -> Recipes:
    assert isinstance(running.program, WatchedProgram)
    return running.program.recipes


def prompts(*lengths: int) -> list[list[int]]:
    draw = np.random.default_rng(0)
    return [draw.integers(0, VOCAB, length).tolist() for length in lengths]


def requests(draw: np.random.Generator, count: int) -> list[Request]:
    return traffic(draw, count, vocab_size=VOCAB, max_prompt_tokens=44, max_tokens=18)


@pytest.mark.parametrize("is_bucketed", [True, False])
def test_logits_are_those_of_the_oracle_in_any_chunks(oracle: Running, is_bucketed: bool) -> None:
    (prompt,) = prompts(45)
    exact = oracle.logits(prompt)
    on_device = started(is_bucketed=is_bucketed)
    for chunk in (None, 16, 1):
        found = on_device.logits(prompt, chunk=chunk)
        np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-5)


def test_greedy_tokens_are_those_of_the_oracle(running: Running, oracle: Running) -> None:
    given = prompts(3, 40, 17, 61, 5, 20, 33, 1)
    params = SamplingParams(temperature=0, max_tokens=20)
    short = [prompt[: 64 - 20] for prompt in given]
    outputs = generate(running.engine(vocab_size=VOCAB), short, params)
    for prompt, output in zip(short, outputs, strict=True):
        held = oracle.hold(prompt, output)
        assert held.is_evidence
        assert held.wrong == ()


def test_seeded_tokens_are_those_of_the_oracle(running: Running, oracle: Running) -> None:
    given, seed = prompts(3, 29, 17, 31), 2**40 + 7
    params = SamplingParams(temperature=1.0, seed=seed, max_tokens=20)
    outputs = generate(running.engine(vocab_size=VOCAB), given, params)
    for prompt, output in zip(given, outputs, strict=True):
        held = oracle.hold(prompt, output, temperature=1.0, seed=seed)
        assert held.is_evidence
        assert held.wrong == ()


def test_nothing_new_is_compiled_after_warming_up(emulator: Emulator) -> None:
    draw = np.random.default_rng(1)
    warm = started()
    warm.program.warm_up(lambda stage, done, total: None)
    assert follow(warm.engine(vocab_size=VOCAB), requests(draw, 60), draw) > 300
    assert recipes(warm).num_launches > 100
    assert recipes(warm).new_since_warm_up == set()


def test_without_buckets_much_is_compiled_after_warming_up(emulator: Emulator) -> None:
    draw = np.random.default_rng(1)
    warm = started(is_bucketed=False)
    warm.program.warm_up(lambda stage, done, total: None)
    follow(warm.engine(vocab_size=VOCAB), requests(draw, 60), draw)
    assert len(recipes(warm).new_since_warm_up) > 50


def test_all_inputs_of_a_launch_travel_in_one_copy(emulator: Emulator) -> None:
    draw = np.random.default_rng(2)
    watched = started()
    follow(watched.engine(vocab_size=VOCAB), requests(draw, 10), draw)
    assert recipes(watched).most_uploads == 1


def test_warming_up_runs_each_size_once_and_changes_no_token(
    running: Running, oracle: Running
) -> None:
    fresh = started()
    fresh.program.warm_up(lambda stage, done, total: None)
    sizes = fresh.program.shape_policy.buckets
    assert recipes(fresh).num_launches == len(recipes(fresh).known)
    assert len(recipes(fresh).known) >= len(sizes["T"]) * len(sizes["M"])
    (prompt,) = prompts(40)
    np.testing.assert_allclose(fresh.logits(prompt), oracle.logits(prompt), rtol=1e-4, atol=1e-5)


class Waits:
    @hookimpl
    def bind_op(self, spec: OpSpec) -> Kernel | None:
        return Kernel(name="planted", run=self.run) if spec.op == "embedding" else None

    def run(self, table: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        assert int(ids.max()) < len(table)
        return table.index_select(0, ids)


def test_a_kernel_that_waits_for_the_device_is_caught(emulator: Emulator) -> None:
    planted = started(Waits())
    with pytest.raises(RuntimeError, match=r"item.*inside a launch"):
        planted.logits([1, 2, 3])


class StaysAtHome:
    @hookimpl
    def bind_op(self, spec: OpSpec) -> Kernel | None:
        return Kernel(name="planted", run=self.run) if spec.op == "embedding" else None

    def run(self, table: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return table.index_select(0, torch.zeros(ids.shape, dtype=torch.int32))


def test_a_kernel_that_leaves_a_tensor_on_the_host_is_caught(emulator: Emulator) -> None:
    planted = started(StaysAtHome())
    with pytest.raises(RuntimeError, match="device"):
        planted.logits([1, 2, 3])


def test_a_launch_that_does_not_fit_says_so_and_the_next_one_runs(limit: Emulator) -> None:
    small = started()
    expected = small.logits([1, 2, 3])
    everything = limit.stats().total_bytes
    limit.set_memory_limit(everything - limit.stats().free_bytes + 10_000)
    with pytest.raises(MemoryError, match="'forward' with 3 tokens does not fit into the"):
        small.logits([1, 2, 3])
    limit.set_memory_limit(everything)
    assert np.array_equal(small.logits([1, 2, 3]), expected)


@pytest.mark.parametrize("depth", [1, 2])
def test_no_step_waits_for_those_that_were_launched_after_it(
    emulator: Emulator, oracle: Running, depth: int
) -> None:
    given = prompts(3, 29, 17, 31)
    params = SamplingParams(temperature=1.0, seed=2**40 + 7, max_tokens=20)
    engine = started().engine(vocab_size=VOCAB, max_in_flight=depth)
    before = emulator.num_waits
    outputs = generate(engine, given, params)
    assert emulator.num_waits == before
    assert outputs == generate(oracle.engine(vocab_size=VOCAB), given, params)


@pytest.mark.parametrize(("num_rows", "num_waits"), [(8, 0), (4096, 1)])
def test_reading_waits_for_what_is_queued_only_where_a_result_was_too_large_to_send(
    emulator: Emulator, device: torch.device, num_rows: int, num_waits: int
) -> None:
    context = opened(Platform(emulated()).open_device((0,), DeviceSettings()))
    made = torch.arange(num_rows * 32, dtype=torch.int32).view(num_rows, 32).to(device)
    pending = launched({"rows": made}, context, {"rows": (slice(num_rows - 3),)})
    before = emulator.num_waits
    found = pending.read().outputs["rows"].array
    assert emulator.num_waits - before == num_waits
    assert found.tolist() == np.arange(num_rows * 32).reshape(num_rows, 32)[:-3].tolist()
