"""What a folder of sentence-transformers says of texts: each word of it heeded, or refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from octavo.errors import ModelError, NotBuilt
from octavo.models.encoder import Projection, Weighing
from octavo.testing.broken.files import tensors, write_file, write_single
from octavo.weights.lowered import FileSource
from octavo.weights.safetensors import SafetensorsSource
from octavo.weights.sentences import Sentences, sentences_of, weighing_of, with_projections

KINDS = ("Transformer", "Pooling", "Normalize")


def write(folder: Path, *kinds: str, **pooling: object) -> Path:
    parts = [
        {
            "idx": index,
            "path": "" if index == 0 else f"{index}_{kind}",
            "type": f"some.where.{kind}",
        }
        for index, kind in enumerate(kinds or KINDS)
    ]
    (folder / "modules.json").write_text(json.dumps(parts))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


def test_a_folder_that_says_nothing_leaves_the_pooling_to_the_model(tmp_path: Path) -> None:
    assert sentences_of(tmp_path) == Sentences(None, is_normalised=True)


@pytest.mark.parametrize(
    ("said", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_lasttoken": True, "include_prompt": True}, "last"),
        ({"pooling_mode": "mean", "embedding_dimension": 8}, "mean"),
        ({"pooling_mode": "lasttoken"}, "last"),
    ],
)
def test_pooling_is_what_its_config_says(
    said: Mapping[str, object], pooling: str, tmp_path: Path
) -> None:
    found = sentences_of(write(tmp_path, **said))
    assert (found.pooling, found.is_normalised) == (pooling, True)


def test_vectors_are_not_normed_where_no_part_does_it(tmp_path: Path) -> None:
    found = sentences_of(write(tmp_path, *KINDS[:2], pooling_mode_cls_token=True))
    assert not found.is_normalised


def test_how_texts_are_read_is_heeded(tmp_path: Path) -> None:
    write(tmp_path, pooling_mode_cls_token=True)
    said = {"max_seq_length": 128, "do_lower_case": True}
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps(said))
    found = sentences_of(tmp_path)
    assert (found.max_tokens, found.is_lower) == (128, True)


def test_a_default_prompt_is_put_before_texts_and_others_are_not(tmp_path: Path) -> None:
    write(tmp_path, pooling_mode_cls_token=True)
    path = tmp_path / "config_sentence_transformers.json"
    prompts = {"query": "find: ", "document": ""}
    for name, prompt in ((None, ""), ("query", "find: "), ("document", "")):
        path.write_text(json.dumps({"prompts": prompts, "default_prompt_name": name}))
        assert sentences_of(tmp_path).prompt == prompt
    path.write_text(json.dumps({"prompts": prompts, "default_prompt_name": "passage"}))
    with pytest.raises(ModelError, match="no prompt 'passage'"):
        sentences_of(tmp_path)


def test_a_prompt_that_is_not_pooled_is_refused(tmp_path: Path) -> None:
    write(tmp_path, pooling_mode_cls_token=True, include_prompt=False)
    assert sentences_of(tmp_path).prompt == ""
    said = {"prompts": {"query": "find: "}, "default_prompt_name": "query"}
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(said))
    with pytest.raises(NotBuilt, match="leaves the prompt 'find: ' out"):
        sentences_of(tmp_path)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"pooling_mode_max_tokens": True}, "pools by pooling_mode_max_tokens, which is not"),
        (
            {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
            "pooling_mode_cls_token and pooling_mode_mean_tokens",
        ),
        ({}, "pools by nothing"),
        ({"pooling_mode": "weightedmean"}, "pools by weightedmean"),
    ],
)
def test_another_way_to_pool_is_refused_by_name(
    said: Mapping[str, object], words: str, tmp_path: Path
) -> None:
    with pytest.raises(NotBuilt, match=words):
        sentences_of(write(tmp_path, **said))


def test_another_part_or_one_in_another_place_is_refused_by_name(tmp_path: Path) -> None:
    for number, kinds in enumerate(
        (("Transformer", "Pooling", "LSTM"), ("Transformer", "Dense", "Pooling"), (*KINDS, "Dense"))
    ):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        write(folder, *kinds, pooling_mode_cls_token=True)
        odd = "LSTM" if "LSTM" in kinds else "Dense"
        with pytest.raises(NotBuilt, match=f"a part of the kind '{odd}' there, which is not built"):
            sentences_of(folder)


def test_layers_behind_the_pooling_are_what_their_configs_say(tmp_path: Path) -> None:
    write(tmp_path, *KINDS[:2], "Dense", "Normalize", pooling_mode_cls_token=True)
    place = tmp_path / "2_Dense"
    place.mkdir()

    def read(**said: object) -> Sentences:
        (place / "config.json").write_text(
            json.dumps({"in_features": 8, "out_features": 4, **said})
        )
        return sentences_of(tmp_path)

    found = read(bias=False, activation_function="torch.nn.modules.linear.Identity")
    expected = Projection(place="2_Dense", n_in=8, n_out=4, has_bias=False)
    assert found.projections == (expected,)
    assert found.is_normalised
    assert read().projections[0].activation == "tanh"
    with pytest.raises(NotBuilt, match="has the activation 'Mish', which is not built; known: Id"):
        read(activation_function="torch.nn.modules.activation.Mish")
    with pytest.raises(ModelError, match="'out_features' has to be a positive integer"):
        read(out_features=0)


def test_weights_of_layers_behind_the_pooling_stand_beside_those_of_the_model(
    tmp_path: Path,
) -> None:
    write_single(tmp_path, tensors())
    source = SafetensorsSource(tmp_path)
    sentences = Sentences(projections=(Projection(place="2_Dense", n_in=3, n_out=2),))
    (tmp_path / "2_Dense").mkdir()
    (tmp_path / "2_Dense" / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(ModelError, match="2_Dense has only pickled weights"):
        with_projections(source, tmp_path, sentences)
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    file = tmp_path / "2_Dense" / "model.safetensors"
    write_file(file, {"linear.weight": weight})
    found = with_projections(source, tmp_path, sentences)
    assert set(found.names()) == {*source.names(), "2_Dense.linear.weight"}
    assert np.array_equal(found.read("2_Dense.linear.weight").array, weight)
    assert isinstance(found, FileSource)
    assert found.file_of("2_Dense.linear.weight") == file
    norm = "model.norm.weight"
    assert np.array_equal(found.read(norm).array, source.read(norm).array)


@pytest.mark.parametrize("text", ["{", "{}", "[1]"])
def test_a_broken_list_of_parts_is_refused_with_its_path(text: str, tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text(text)
    with pytest.raises(ModelError, match=r"modules\.json"):
        sentences_of(tmp_path)


@pytest.mark.parametrize(
    ("config", "weighing"),
    [
        ({"id2label": {"0": "a"}}, "sigmoid"),
        ({"id2label": {"0": "a", "1": "b"}}, "softmax"),
        ({}, "softmax"),
        ({"problem_type": "multi_label_classification"}, "sigmoid"),
        ({"problem_type": "regression"}, "none"),
        ({"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}, "none"),
        (
            {
                "sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid"},
                "problem_type": "regression",
            },
            "sigmoid",
        ),
    ],
)
def test_scores_are_weighed_as_the_config_says(
    config: Mapping[str, object], weighing: Weighing
) -> None:
    assert weighing_of(config) == weighing


def test_another_weighing_is_refused_by_name() -> None:
    with pytest.raises(NotBuilt, match="'Tanh', which is not built"):
        weighing_of({"sentence_transformers": {"activation_fn": "torch.nn.Tanh"}})
