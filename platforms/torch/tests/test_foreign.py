"""Foreign models: what is refused before a weight is read, by name, and what a proof finds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from octavo_platforms.errors import CannotBind, CannotLoad
from octavo_platforms.foreign import ForeignAttention, ForeignModel, ForeignSpec
from octavo_platforms.inputs import StepInputs
from octavo_platforms.loaded import Platform
from octavo_platforms.platform import DeviceContext
from octavo_platforms.program import Plane, StateSpec
from octavo_torch.foreign.proof import prove

SIZES: Mapping[str, object] = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
}


class Checkpoint:
    """A folder with a config and nothing else."""

    def __init__(self, folder: Path, platform: Platform, context: DeviceContext) -> None:
        self._folder = folder
        self._platform = platform
        self._context = context

    def bound(self, kind: str, architecture: str, **options: object) -> ForeignModel:
        config = {**SIZES, "model_type": kind, "architectures": [architecture], **options}
        (self._folder / "config.json").write_text(json.dumps(config))
        spec = ForeignSpec(path=self._folder, config=config)
        return self._platform.bind_model(spec, self._context)


@pytest.fixture
def checkpoint(tmp_path: Path, platform: Platform, context: DeviceContext) -> Checkpoint:
    return Checkpoint(tmp_path, platform, context)


def test_a_model_is_known_by_its_config_alone(checkpoint: Checkpoint) -> None:
    model = checkpoint.bound("qwen3", "Qwen3ForCausalLM", tie_word_embeddings=True)
    assert (model.name, model.vocab_size, model.max_context_tokens) == ("Qwen3ForCausalLM", 97, 64)
    assert model.attention == ForeignAttention(
        layers=3, num_heads=6, num_kv_heads=2, head_width=8, scale=8**-0.5
    )
    layer = 48 * (48 + 16 + 16 + 48) + 3 * 48 * 80 + 2 * 48 + 2 * 8
    assert model.num_weights == 97 * 48 + 3 * layer + 48


CODEGEN: Mapping[str, object] = {"num_attention_heads": 4, "rotary_dim": 8}
REFUSED: list[tuple[str, str, Mapping[str, object], str]] = [
    ("mistral", "MistralForCausalLM", {"sliding_window": 32}, "windows or chunks of 32 tokens"),
    ("gemma2", "Gemma2ForCausalLM", {"layer_types": ["full_attention"] * 3}, "softcap=50.0"),
    ("mamba", "MambaForCausalLM", {}, "remembers more than keys and values"),
    ("falcon_h1", "FalconH1ForCausalLM", {}, "remembers more than keys and values"),
    ("gptj", "GPTJForCausalLM", {}, "does not run without weights"),
    ("codegen", "CodeGenForCausalLM", CODEGEN, "does not attend through the register"),
    ("stablelm", "StableLmForCausalLM", {}, "do not hand a launch's own arguments on"),
    ("bloom", "BloomForCausalLM", {}, "takes no position_ids"),
    ("bert", "BertLMHeadModel", {}, "its attention is not causal|a mask that is not causal"),
    ("qwen2", "Qwen2ForCausalLM", {"hidden_size": "wide"}, "transformers does not take its config"),
    ("t5", "T5ForConditionalGeneration", {}, "generates no text with T5For"),
    ("qwen2", "Qwen2ForTokenClassification", {}, "generates no text with Qwen2ForToken"),
    (
        "qwen2",
        "Qwen2ForCausalLM",
        {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}},
        "'dynamic' would depend on batch mates",
    ),
    (
        "qwen2",
        "Qwen2ForCausalLM",
        {"quantization_config": {"quant_method": "awq"}},
        "its weights are quantised",
    ),
]


@pytest.mark.parametrize(("kind", "architecture", "options", "words"), REFUSED)
def test_what_would_run_wrong_is_refused_by_name(
    checkpoint: Checkpoint,
    kind: str,
    architecture: str,
    options: Mapping[str, object],
    words: str,
) -> None:
    with pytest.raises(CannotBind, match=words):
        checkpoint.bound(kind, architecture, **options)


def test_code_that_comes_with_a_checkpoint_is_never_run(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    trap = tmp_path / "ran"
    for name in ("configuration_own.py", "modeling_own.py"):
        (tmp_path / name).write_text(f"open({str(trap)!r}, 'w').close()\n")
    own = {"AutoConfig": "configuration_own.Own", "AutoModelForCausalLM": "modeling_own.Own"}
    with pytest.raises(CannotBind, match=r"code that comes with a checkpoint is never run"):
        checkpoint.bound("own", "OwnForCausalLM", auto_map=own)
    assert checkpoint.bound("qwen2", "Qwen2ForCausalLM", auto_map=own).name == "Qwen2ForCausalLM"
    assert not trap.exists()


class Counting:
    """A module in miniature, whose logits follow from each token's place in its request."""

    def __init__(self, *, counts_alone: bool) -> None:
        self._counts_alone = counts_alone
        generator = torch.Generator().manual_seed(0)
        self._table = torch.randn((64, 97), generator=generator)

    def ours(self, inputs: StepInputs) -> Tensor:
        places: list[int] = []
        for past, start, stop in zip(
            inputs.computed, inputs.query_starts, inputs.query_starts[1:], strict=False
        ):
            first = 0 if self._counts_alone else int(past)
            places += range(first, first + int(stop - start))
        return self._table[[places[row] for row in inputs.rows]]

    def whole(self, tokens: Sequence[int]) -> Tensor:
        return self._table[: len(tokens)]


def proved(module: Counting, num_blocks: int) -> None:
    plane = Plane("k", (2, 8), "float32")
    state = StateSpec("kv", "paged", (plane, plane), 1, 4)
    prove(
        module.ours,
        module.whole,
        name="Counting",
        state=state,
        num_blocks=num_blocks,
        vocab_size=97,
    )


@pytest.mark.parametrize("num_blocks", [2, 3, 8, 100])
def test_a_proof_passes_what_is_right_with_however_few_blocks(num_blocks: int) -> None:
    proved(Counting(counts_alone=False), num_blocks)


def test_a_proof_finds_a_module_that_counts_positions_by_itself() -> None:
    with pytest.raises(CannotLoad, match=r"Counting gives other logits in chunks"):
        proved(Counting(counts_alone=True), 100)
