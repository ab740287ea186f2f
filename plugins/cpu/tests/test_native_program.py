"""Whole programs: what is refused in words, what a launch may be given, and no torch anywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from octavo.graph.passes import optimised
from octavo.models.decoder import Limits
from octavo.testing.drive import run_on
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import llama
from octavo_cpu.native import compiler, platform
from octavo_cpu.native.library import Library, missing, opened
from octavo_platforms import bind, place
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.errors import CannotBind, CannotStart
from octavo_platforms.hooks import hookimpl
from octavo_platforms.inputs import GroupInputs, StepInputs, StepShape
from octavo_platforms.loaded import Platform
from octavo_platforms.platform import Instruction, Kernel
from octavo_platforms.specs import CompileSpec, OpSpec

TOY = llama.program(
    llama.spec(), limits=Limits(max_step_tokens=16, max_requests=4, max_blocks=4, block_size=4)
)
needs_library = pytest.mark.skipif(missing() is not None, reason=f"{missing()}")

ALONE = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
from octavo.sampling import SamplingParams
from octavo.testing.drive import generate, run_on
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import llama
from octavo_cpu.native import platform
from octavo_platforms.loaded import Platform

toy = llama.program(llama.spec())
running = run_on(Platform(platform), toy, RandomWeights(toy))
params = SamplingParams(temperature=0, max_tokens=8)
(tokens,) = generate(running.engine(vocab_size=101), [[1, 2, 3]], params)
print(json.dumps([len(tokens), sorted({"torch", "jax"} & set(sys.modules))]))
"""


class Front:
    """The native platform with something that is asked for an op before it."""

    def __init__(self, answer: Kernel | Instruction) -> None:
        self.overrides = (Asked(answer), platform)


class Asked:
    """Gives one answer for every silu_gate."""

    def __init__(self, answer: Kernel | Instruction) -> None:
        self._answer = answer

    @hookimpl
    def bind_op(self, spec: OpSpec) -> Kernel | Instruction | None:
        """Give the answer."""
        return self._answer if spec.op == "silu_gate" else None


def step(token_ids: list[int], *, table: list[int], rows: list[int] | None = None) -> StepInputs:
    count = len(token_ids)
    return StepInputs(
        entry="forward",
        sequence=0,
        shape=StepShape(count, 1, count, count, count, count),
        token_ids=np.array(token_ids, np.int32),
        query_starts=np.array([0, count], np.int32),
        seat=np.array([1], np.int32),
        computed=np.zeros(1, np.int32),
        rows=np.array(list(range(count)) if rows is None else rows, np.int32),
        sampling=None,
        groups={"kv": GroupInputs(np.array([table], np.int32))},
    )


@needs_library
def test_a_process_that_generates_holds_neither_torch_nor_jax() -> None:
    command = [sys.executable, "-c", ALONE, json.dumps(sys.path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == [8, []]


@needs_library
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Kernel(name="their.gate", run=print), "a kernel to be called"),
        (Instruction(name="their.gate", code="gate"), "another platform's compiler"),
    ],
)
def test_what_the_compiler_cannot_read_is_refused_by_name(
    answer: Kernel | Instruction, words: str
) -> None:
    with pytest.raises(CannotBind, match=words) as refusal:
        run_on(Platform(Front(answer)), TOY, RandomWeights(TOY))
    assert "their.gate" in str(refusal.value)


@needs_library
@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (step([1, 2, 101], table=[1]), "the row 101 is not in"),
        (step([1, 2, -1], table=[1]), "the row -1 is not in"),
        (step([1, 2], table=[1], rows=[2]), "the row 2 is not in"),
        (step([1, 2, 3], table=[8]), "is not in"),
        (step([1, 2, 3, 4, 5], table=[1]), "the block of a table 1 is not in"),
    ],
)
def test_an_index_out_of_range_ends_the_launch_and_not_the_process(
    inputs: StepInputs, words: str
) -> None:
    running = run_on(Platform(platform), TOY, RandomWeights(TOY), num_blocks=8)
    with pytest.raises(RuntimeError, match=words):
        running.program.launch(inputs)
    assert len(running.logits([1, 2, 3])) == 3


@needs_library
def test_a_step_larger_than_the_program_was_made_for_is_refused() -> None:
    running = run_on(Platform(platform), TOY, RandomWeights(TOY))
    with pytest.raises(ValueError, match="at most"):
        running.program.launch(step([1] * 17, table=[1, 2, 3, 4, 5]))
    with pytest.raises(ValueError, match="'token_ids' is int64"):
        running.program.launch(replace(step([1, 2], table=[1]), token_ids=np.array([1, 2])))


@needs_library
def test_a_closed_program_is_not_launched() -> None:
    running = run_on(Platform(platform), TOY, RandomWeights(TOY))
    running.program.close()
    with pytest.raises(RuntimeError, match="closed"):
        running.program.launch(step([1], table=[1]))


@needs_library
def test_a_program_is_not_launched_on_a_closed_device() -> None:
    found = Platform(platform)
    context = found.open_device((0,), DeviceSettings())
    better = optimised(TOY, one_step=True)
    binding = bind(better, found, context)
    weights = place(better, binding, RandomWeights(TOY), found.make_memory(context))
    spec = CompileSpec(program=better, binding=binding, weights=weights, num_blocks={"kv": 4})
    program = found.compile(spec, context)
    context.close()
    with pytest.raises(RuntimeError, match="closed"):
        program.launch(step([1], table=[1]))


@pytest.mark.parametrize(
    ("devices", "settings", "words"),
    [((1,), DeviceSettings(), "device 0 only"), ((0,), DeviceSettings("fast"), "no mode 'fast'")],
)
def test_another_device_or_mode_is_refused(
    devices: tuple[int, ...], settings: DeviceSettings, words: str
) -> None:
    with pytest.raises(CannotStart, match=words):
        Platform(platform).open_device(devices, settings)


@pytest.mark.skipif(
    compiler.compiler() is None or not compiler.SOURCES.is_dir(),
    reason="no C++ compiler, or no sources: the library cannot be built here",
)
def test_the_library_is_there_and_of_these_sources_where_it_can_be_built() -> None:
    assert missing() is None, missing()


def test_a_library_that_is_not_there_is_told_of_with_the_remedy(tmp_path: Path) -> None:
    words = missing(tmp_path / "liboctavo_cpu.so")
    assert words is not None
    assert "missing" in words
    assert compiler.COMMAND in words


def test_a_broken_library_is_told_of_with_the_remedy(tmp_path: Path) -> None:
    broken = tmp_path / "liboctavo_cpu.so"
    broken.write_bytes(b"no library")
    assert compiler.COMMAND in (missing(broken) or "")


@needs_library
def test_the_library_has_each_op_under_one_number() -> None:
    library: Library = opened()
    assert len(library.number_of) > 20
    assert sorted(library.number_of.values()) == list(range(len(library.number_of)))


@needs_library
def test_the_platform_is_found_and_never_chosen_unasked() -> None:
    probe = platform.probe()
    assert probe.found
    assert probe.priority == 0
