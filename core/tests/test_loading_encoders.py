"""From a folder to vectors, on the oracle: what it says is heeded, and what cannot be is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from octavo import LLM
from octavo.config import Settings, from_environment
from octavo.errors import ClientError, ModelError, OperatorError, PromptTooLong
from octavo.loading import load, load_any, plan
from octavo.testing.loaded import VOCAB_SIZE, byte_backend
from octavo.vectors import PooledModel, PoolingParams

CONFIG = {
    "architectures": ["BertModel"],
    "dtype": "float32",
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
}
RAW = PoolingParams(use_activation=False)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "tokenizer.json").write_text(byte_backend().to_str())
    write(tmp_path)
    return replace(
        from_environment({}),
        model=str(tmp_path),
        device="oracle",
        max_requests=4,
        load_format="dummy",
    )


def write(folder: Path, **config: object) -> None:
    (folder / "config.json").write_text(json.dumps({**CONFIG, **config}))


def write_modules(folder: Path, mode: str, *, max_tokens: int = 20) -> None:
    parts = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    listed = [
        {"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in parts
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{mode}": True}))
    said = json.dumps({"max_seq_length": max_tokens})
    (folder / "sentence_bert_config.json").write_text(said)


def vector(llm: LLM, text: str, params: PoolingParams = RAW) -> list[float]:
    (found,) = llm.embed(text, pooling_params=params, use_tqdm=False)
    return found.outputs.embedding


def test_a_folder_becomes_a_model_that_embeds_alone_as_beside_others(settings: Settings) -> None:
    llm = LLM(load_any(settings))
    texts = ["a", "some text", "more of it, much more of it than before", "a"]
    together = llm.embed(texts, use_tqdm=False)
    for text, found in zip(texts, together, strict=True):
        assert len(found.outputs.embedding) == 16
        assert np.linalg.norm(found.outputs.embedding) == pytest.approx(1)
        assert np.allclose(found.outputs.embedding, vector(llm, text, PoolingParams()), atol=1e-6)
    assert together[0].outputs.embedding != together[1].outputs.embedding


def test_what_the_folder_says_of_texts_is_heeded(settings: Settings) -> None:
    folder = Path(settings.model or "")
    first = vector(LLM(load_any(settings)), "some text")
    rows = {}
    for mode in ("cls_token", "mean_tokens", "lasttoken"):
        write_modules(folder, mode)
        rows[mode] = vector(LLM(load_any(settings)), "some text")
    assert rows["cls_token"] == first
    assert len({tuple(each) for each in rows.values()}) == 3
    with pytest.raises(PromptTooLong, match="21 tokens, but at most 20 fit"):
        vector(LLM(load_any(settings)), "a" * 21)


def test_layers_behind_the_pooling_make_rows_as_wide_as_the_last_of_them(
    settings: Settings,
) -> None:
    folder = Path(settings.model or "")
    write_modules(folder, "mean_tokens")
    listed = json.loads((folder / "modules.json").read_text())
    listed.insert(2, {"path": "2_Dense", "type": "sentence_transformers.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "2_Dense").mkdir()
    said = {"in_features": 16, "out_features": 5}
    (folder / "2_Dense" / "config.json").write_text(json.dumps(said))
    assert len(vector(LLM(load_any(settings)), "some text")) == 5
    (folder / "2_Dense" / "config.json").write_text(json.dumps({**said, "in_features": 8}))
    with pytest.raises(ModelError, match=r"2_Dense/config.json: 'in_features' is 8.* are 16 wide"):
        load_any(settings)


def test_a_prompt_may_be_as_long_as_the_model_can_read_and_no_longer(settings: Settings) -> None:
    llm = LLM(load_any(settings))
    assert len(vector(llm, "a" * 64)) == 16
    with pytest.raises(PromptTooLong, match="65 tokens, but at most 64 fit"):
        vector(llm, "a" * 65)


def test_a_classifier_tells_its_classes_apart(settings: Settings) -> None:
    folder = Path(settings.model or "")
    write(folder, architectures=["BertForSequenceClassification"], id2label={"0": "a", "1": "b"})
    llm = LLM(load_any(settings))
    (found,) = llm.classify("some text", use_tqdm=False)
    assert sum(found.outputs.probs) == pytest.approx(1)
    assert found.outputs.num_classes == 2
    with pytest.raises(ClientError, match="cannot embed"):
        llm.embed("some text", use_tqdm=False)


def test_a_model_of_one_class_scores_pairs_and_knows_their_order(settings: Settings) -> None:
    folder = Path(settings.model or "")
    write(folder, architectures=["BertForSequenceClassification"], id2label={"0": "a"})
    llm = LLM(load_any(settings))
    one, other = (
        llm.score(*pair, use_tqdm=False)[0].outputs.score for pair in (("a", "b"), ("b", "a"))
    )
    assert 0 < one < 1
    assert one != other


def test_what_generates_is_pooled_where_its_folder_says_how(settings: Settings) -> None:
    folder = Path(settings.model or "")
    write(folder, architectures=["LlamaForCausalLM"], rms_norm_eps=1e-5)
    assert not isinstance(load_any(settings), PooledModel)
    write_modules(folder, "lasttoken")
    llm = LLM(load_any(settings))
    assert np.linalg.norm(vector(llm, "some text", PoolingParams())) == pytest.approx(1)


def test_the_plan_says_what_becomes_of_a_prompt_and_that_nothing_is_kept(
    settings: Settings,
) -> None:
    written = str(plan(replace(settings, max_requests=None)))
    assert "as the graph of the family 'bert'; each prompt is pooled by its first token" in written
    assert "none: prompts are read whole and keep nothing" in written
    assert "64 tokens (as the model)" in written


def test_who_serves_or_chats_is_told_that_an_encoder_does_neither(settings: Settings) -> None:
    stages: list[str] = []
    with pytest.raises(ModelError, match="only text generation is served over HTTP"):
        load(settings, report=stages.append)
    assert stages == []


def test_a_step_holds_the_longest_prompt_or_the_longest_prompt_is_what_a_step_holds(
    settings: Settings,
) -> None:
    folder = Path(settings.model or "")
    write(folder, max_position_embeddings=4000)
    resolved = plan(settings).resolved
    assert (resolved.max_context_tokens, resolved.max_step_tokens) == (4000, 4000)
    assert resolved.why["max_step_tokens"] == "enough for the longest prompt"
    resolved = plan(replace(settings, max_step_tokens=100)).resolved
    assert (resolved.max_context_tokens, resolved.max_step_tokens) == (100, 100)
    assert resolved.why["max_context_tokens"] == "no more than the tokens of a step"
    with pytest.raises(OperatorError, match="--max-num-batched-tokens is 100, but --max-model-len"):
        plan(replace(settings, max_step_tokens=100, max_context_tokens=200))
