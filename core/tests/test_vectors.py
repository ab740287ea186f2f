"""Vectors, probabilities and scores, over the encoder without weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from octavo import LLM
from octavo.errors import ClientError, PromptTooLong
from octavo.prompts import Prompt
from octavo.testing.loaded import NullLoaded
from octavo.testing.null_pooled import NullPooled, null_pooled, row_by_hand
from octavo.vectors import PooledModel, PoolingParams

RAW = PoolingParams(use_activation=False)


@pytest.fixture
def model() -> PooledModel:
    return null_pooled()


def scoring(model: PooledModel, classes: int, weighing: str) -> PooledModel:
    found = replace(model, num_classes=classes)
    for known in ("softmax", "sigmoid", "none"):
        if known == weighing:
            return replace(found, weighing=known)
    raise AssertionError(weighing)


def test_vectors_come_in_the_order_of_the_prompts_whatever_form_these_have(
    model: PooledModel,
) -> None:
    ids = model.tokenizer.encode("two", add_special_tokens=True)
    prompts: list[Prompt] = ["one", ids, {"prompt": "three"}, {"prompt_token_ids": ids}, "a" * 40]
    found = LLM(model).embed(prompts, pooling_params=RAW, use_tqdm=False)
    assert [each.outputs.embedding for each in found] == [
        row_by_hand(each.prompt_token_ids) for each in found
    ]
    assert [len(each.prompt_token_ids) for each in found] == [3, 3, 5, 3, 40]
    assert [each.request_id for each in found] == ["0", "1", "2", "3", "4"]


def test_a_lone_prompt_and_no_prompt_are_prompts_too(model: PooledModel) -> None:
    (lone,) = LLM(model).embed([5, 6, 7], pooling_params=RAW, use_tqdm=False)
    assert lone.outputs.embedding == row_by_hand([5, 6, 7])
    assert LLM(model).embed([], use_tqdm=False) == []


def test_vectors_have_the_length_one_unless_the_folder_or_the_caller_says_otherwise(
    model: PooledModel,
) -> None:
    (found,) = LLM(model).embed("abc", use_tqdm=False)
    assert np.linalg.norm(found.outputs.embedding) == pytest.approx(1)
    (plain,) = LLM(replace(model, is_normalised=False)).embed("abc", use_tqdm=False)
    assert plain.outputs.embedding == row_by_hand(plain.prompt_token_ids)
    assert np.allclose(
        np.asarray(plain.outputs.embedding) / np.linalg.norm(plain.outputs.embedding),
        found.outputs.embedding,
    )


def test_part_of_a_vector_is_normed_after_the_cut_and_only_where_the_model_was_made_for_it(
    model: PooledModel,
) -> None:
    params = PoolingParams(dimensions=2)
    with pytest.raises(ClientError, match="does not say that a part of its vectors"):
        LLM(model).embed("abc", pooling_params=params, use_tqdm=False)
    nested = LLM(replace(model, has_nested=True))
    (found,) = nested.embed("abc", pooling_params=params, use_tqdm=False)
    assert len(found.outputs.embedding) == 2
    assert np.linalg.norm(found.outputs.embedding) == pytest.approx(1)
    with pytest.raises(ClientError, match="'dimensions' is 5, but a vector has 4"):
        nested.embed("abc", pooling_params=PoolingParams(dimensions=5), use_tqdm=False)


def test_classes_are_weighed_as_the_model_says(model: PooledModel) -> None:
    ids = [2, 1]
    scores = np.asarray(row_by_hand(ids))
    shares = np.exp(scores - scores.max())
    expected = {
        "softmax": shares / shares.sum(),
        "sigmoid": 1 / (1 + np.exp(-scores)),
        "none": scores,
    }
    for weighing, right in expected.items():
        (found,) = LLM(scoring(model, 4, weighing)).classify(ids, use_tqdm=False)
        assert found.outputs.num_classes == 4
        assert np.allclose(found.outputs.probs, right)
    (raw,) = LLM(scoring(model, 4, "softmax")).classify(ids, pooling_params=RAW, use_tqdm=False)
    assert raw.outputs.probs == scores.tolist()


def test_a_pair_is_read_at_once_by_a_model_of_one_class(model: PooledModel) -> None:
    llm = LLM(scoring(model, 1, "none"))
    found = llm.score("query", ["one", "other"], use_tqdm=False)
    sizes = [len("queryone"), len("queryother")]
    assert [each.outputs.score for each in found] == sizes
    with pytest.raises(ClientError, match="token ids cannot be joined"):
        llm.score([[1, 2]], ["one"], use_tqdm=False)


def test_the_second_text_of_a_pair_is_another_segment_where_the_model_tells_them_apart() -> None:
    for tells in (True, False):
        program = NullPooled()
        model = replace(scoring(null_pooled(program), 1, "none"), tells_segments=tells)
        LLM(model).score("query", ["one"], use_tqdm=False)
        (launch,) = program.launches
        segments = launch.extra["token_types"]
        assert isinstance(segments, np.ndarray)
        assert segments.sum() == (len("one") if tells else 0)


def test_a_model_with_vectors_scores_by_their_cosine(model: PooledModel) -> None:
    llm = LLM(model)
    vectors = [
        np.asarray(each.outputs.embedding)
        for each in llm.embed(["one", "two", "three"], use_tqdm=False)
    ]
    found = llm.score("one", ["two", "three", "one"], use_tqdm=False)
    assert [each.outputs.score for each in found] == pytest.approx(
        [float(vectors[0] @ other) for other in (vectors[1], vectors[2], vectors[0])], abs=1e-6
    )
    by_pairs = llm.score(["two", "three"], ["one", "one"], use_tqdm=False)
    assert [each.outputs.score for each in by_pairs] == pytest.approx(
        [each.outputs.score for each in found[:2]], abs=1e-6
    )
    with pytest.raises(ClientError, match="2 first texts, but 3 second ones"):
        llm.score(["a", "b"], ["c", "d", "e"], use_tqdm=False)


def test_a_long_text_is_refused_and_nothing_runs_unless_it_is_to_be_cut() -> None:
    program = NullPooled()
    llm = LLM(null_pooled(program))
    with pytest.raises(PromptTooLong, match="41 tokens, but at most 40"):
        llm.embed(["short", "a" * 41], use_tqdm=False)
    assert program.launches == []
    for asked, kept in ((-1, 40), (7, 7), (100, 40)):
        params = PoolingParams(truncate_prompt_tokens=asked)
        (found,) = llm.embed("a" * 41, pooling_params=params, use_tqdm=False)
        assert len(found.prompt_token_ids) == kept


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"dimensions": 0}, "'dimensions' is 0"),
        ({"truncate_prompt_tokens": 0}, "'truncate_prompt_tokens' is 0"),
        ({"truncate_prompt_tokens": -2}, "'truncate_prompt_tokens' is -2"),
    ],
)
def test_a_parameter_out_of_its_range_is_refused_by_name(wrong: dict[str, int], words: str) -> None:
    with pytest.raises(ClientError, match=words):
        PoolingParams(**wrong)  # type: ignore[arg-type]


def test_what_the_folder_puts_before_texts_is_read_and_ids_are_taken_as_they_are(
    model: PooledModel,
) -> None:
    llm = LLM(replace(model, prompt="find: ", is_lower=True))
    prompts: list[Prompt] = ["A", [1, 2]]
    text, ids = llm.embed(prompts, use_tqdm=False)
    assert model.tokenizer.decode(text.prompt_token_ids, skip_special_tokens=False) == "find: a"
    assert ids.prompt_token_ids == [1, 2]


def test_a_token_that_the_model_lacks_is_refused(model: PooledModel) -> None:
    for wrong in (-1, 260, 1 << 40):
        with pytest.raises(ClientError, match=f"token id {wrong}, but the vocabulary has 260"):
            LLM(model).embed([[1, wrong]], use_tqdm=False)


def test_each_kind_of_model_refuses_what_another_kind_does(model: PooledModel) -> None:
    speaking, pooling, scoring_two = LLM(NullLoaded()), LLM(model), LLM(scoring(model, 2, "none"))
    with pytest.raises(ClientError, match=r"'null' pools or scores texts.*Use embed"):
        pooling.generate("hello", use_tqdm=False)
    with pytest.raises(ClientError, match="generates none"):
        pooling.chat([{"role": "user", "content": "hello"}], use_tqdm=False)
    with pytest.raises(ClientError, match=r"generates text, so it cannot embed\. Use generate"):
        speaking.embed("hello", use_tqdm=False)
    with pytest.raises(ClientError, match="cannot score"):
        speaking.score("a", "b", use_tqdm=False)
    with pytest.raises(ClientError, match=r"pools, so it cannot classify\. Use embed"):
        pooling.classify("hello", use_tqdm=False)
    with pytest.raises(ClientError, match=r"scores classes, so it cannot embed\. Use classify"):
        scoring_two.embed("hello", use_tqdm=False)
    with pytest.raises(ClientError, match="tells 2 classes apart"):
        scoring_two.score("a", "b", use_tqdm=False)


def test_a_prompt_that_fails_leaves_no_work_behind() -> None:
    program = NullPooled(is_broken=True)
    model = null_pooled(program)
    with pytest.raises(MemoryError):
        LLM(model).embed(["a" * 40] * 9, use_tqdm=False)
    assert not model.pooler.has_work
