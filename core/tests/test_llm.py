"""The offline face over the model without weights."""

from __future__ import annotations

import subprocess
import sys

import pytest

from octavo import LLM, SamplingParams
from octavo.beams import BeamSearchParams
from octavo.chat import ChatTemplate
from octavo.engine import Engine
from octavo.errors import ClientError, PromptTooLong
from octavo.heart import heart
from octavo.request import Request
from octavo.scheduler import Bell
from octavo.testing.loaded import VOCAB_SIZE, NullLoaded, null_limits
from octavo.testing.null import NullProgram, by_hand

GREEDY = SamplingParams(temperature=0, max_tokens=8)


@pytest.fixture
def loaded() -> NullLoaded:
    return NullLoaded()


class OpensWhenWaitedFor(Bell):
    """A gate that is closed until somebody waits for its bell; notes how long each would wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float | None] = []

    def is_open(self, request: Request) -> bool:
        return bool(self.waits)

    def wait(self, timeout_s: float | None) -> bool:
        self.waits.append(timeout_s)
        return True


def held(loaded: NullLoaded) -> int:
    return loaded.engine.stats.held_blocks


def test_results_come_in_the_order_of_the_prompts(loaded: NullLoaded) -> None:
    prompts = ["a long prompt that takes a while", "b", "cc"] * 5
    params = [SamplingParams(temperature=0, max_tokens=1 + index) for index in range(15)]
    results = LLM(loaded).generate(prompts, params, use_tqdm=False)
    assert [result.prompt for result in results] == prompts
    assert [len(result.outputs[0].token_ids) for result in results] == list(range(1, 16))
    assert all(result.finished for result in results)


@pytest.mark.parametrize("is_beam", [False, True])
def test_while_gates_are_closed_it_waits_for_the_bell_and_looks_once(is_beam: bool) -> None:
    gate, limits = OpensWhenWaitedFor(), null_limits()
    parts = heart(NullProgram(limits, entries=("forward", "sample")), limits, gates=[gate])
    llm = LLM(NullLoaded(Engine(parts.scheduler, parts.runner, bell=gate)))
    if is_beam:
        llm.beam_search(
            [{"prompt_token_ids": [5, 6, 7]}], BeamSearchParams(beam_width=2, max_tokens=3)
        )
    else:
        (result,) = llm.generate([5, 6, 7], GREEDY, use_tqdm=False)
        assert len(result.outputs[0].token_ids) == 8
    assert gate.waits == [None]


def test_tokens_are_those_computed_by_hand(loaded: NullLoaded) -> None:
    (result,) = LLM(loaded).generate([5, 6, 7], GREEDY, use_tqdm=False)
    assert result.outputs[0].token_ids == by_hand([5, 6, 7], num_tokens=8, vocab_size=VOCAB_SIZE)
    assert result.outputs[0].finish_reason == "length"


def test_a_prompt_may_be_text_or_tokens_alone_or_among_others(loaded: NullLoaded) -> None:
    llm = LLM(loaded)
    ids = loaded.tokenizer.encode("hello", add_special_tokens=True)
    forms = ("hello", ids, {"prompt_token_ids": ids}, ["hello"], [ids], [{"prompt_token_ids": ids}])
    outputs = [llm.generate(form, GREEDY, use_tqdm=False) for form in forms]
    assert {tuple(result.outputs[0].token_ids) for (result,) in outputs} == {
        tuple(by_hand(ids, num_tokens=8, vocab_size=VOCAB_SIZE))
    }


def test_the_output_ends_before_a_stop_string(loaded: NullLoaded) -> None:
    llm = LLM(loaded)
    (whole,) = llm.generate("stop here", SamplingParams(max_tokens=40, seed=2), use_tqdm=False)
    text = whole.outputs[0].text
    stop = text[10:13]
    params = SamplingParams(max_tokens=40, seed=2, stop=stop)
    (cut,) = llm.generate("stop here", params, use_tqdm=False)
    assert cut.outputs[0].text == text[: text.index(stop)]
    assert (cut.outputs[0].finish_reason, cut.outputs[0].stop_reason) == ("stop", stop)
    assert held(loaded) == 0


def test_the_output_ends_before_the_text_of_a_stop_token(loaded: NullLoaded) -> None:
    llm = LLM(loaded)
    tokens = by_hand([9, 9], num_tokens=8, vocab_size=VOCAB_SIZE)
    params = SamplingParams(temperature=0, max_tokens=8, stop_token_ids=[tokens[2]])
    output = llm.generate([9, 9], params, use_tqdm=False)[0].outputs[0]
    assert output.token_ids == tokens[:3]
    assert output.text == loaded.tokenizer.decode(tokens[:2], skip_special_tokens=True)
    assert (output.finish_reason, output.stop_reason) == ("stop", tokens[2])


def test_text_held_back_for_a_stop_string_comes_at_the_end(loaded: NullLoaded) -> None:
    llm = LLM(loaded)
    (whole,) = llm.generate("x", SamplingParams(max_tokens=30, seed=2), use_tqdm=False)
    text = whole.outputs[0].text
    params = SamplingParams(max_tokens=30, seed=2, stop=text[-2:] + "never")
    (held_back,) = llm.generate("x", params, use_tqdm=False)
    assert held_back.outputs == whole.outputs


def test_a_refused_prompt_leaves_nothing_running(loaded: NullLoaded) -> None:
    with pytest.raises(PromptTooLong):
        LLM(loaded).generate(["fits", "x" * 600], use_tqdm=False)
    assert not loaded.engine.has_work
    assert held(loaded) == 0


@pytest.mark.parametrize(
    "prompts", [[VOCAB_SIZE], "", ["a", [1], 2], {"prompt": "a", "cache": "b"}, [{"text": [1]}]]
)
def test_a_prompt_that_is_none_is_refused(loaded: NullLoaded, prompts: object) -> None:
    with pytest.raises(ClientError):
        LLM(loaded).generate(prompts, use_tqdm=False)  # type: ignore[arg-type]


def test_one_set_of_parameters_a_prompt_or_one_for_all(loaded: NullLoaded) -> None:
    with pytest.raises(ClientError, match="2 prompts, but 3"):
        LLM(loaded).generate(["a", "b"], [GREEDY] * 3, use_tqdm=False)


def test_a_conversation_is_written_as_the_template_says(loaded: NullLoaded) -> None:
    llm = LLM(loaded)
    conversation = [{"role": "user", "content": "hi"}]
    (one,) = llm.chat(conversation, GREEDY, use_tqdm=False)
    text = loaded.tokenizer.decode(one.prompt_token_ids, skip_special_tokens=False)
    assert text == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    several = llm.chat([conversation, conversation], GREEDY, use_tqdm=False)
    assert [each.outputs for each in several] == [one.outputs] * 2


def test_a_final_message_is_continued(loaded: NullLoaded) -> None:
    (one,) = LLM(loaded).chat(
        [{"role": "assistant", "content": [{"type": "text", "text": "Well"}]}],
        GREEDY,
        use_tqdm=False,
        add_generation_prompt=False,
        continue_final_message=True,
    )
    text = loaded.tokenizer.decode(one.prompt_token_ids, skip_special_tokens=False)
    assert text == "<|im_start|>assistant\nWell"


def test_the_template_is_told_of_tools_documents_and_switches() -> None:
    chat = ChatTemplate("{{ tools }}{{ documents }}{{ enable_thinking }}", {})
    loaded = NullLoaded(chat=chat)
    (one,) = LLM(loaded).chat(
        [{"role": "user", "content": "hi"}],
        GREEDY,
        use_tqdm=False,
        tools=[{"a": 1}],
        documents=[{"b": 2}],
        chat_template_kwargs={"enable_thinking": False},
    )
    text = loaded.tokenizer.decode(one.prompt_token_ids, skip_special_tokens=False)
    assert text == "[{'a': 1}][{'b': 2}]False"


def test_streamed_pieces_are_the_whole_text(loaded: NullLoaded) -> None:
    llm = LLM(loaded)
    conversation = [{"role": "user", "content": "hi"}]
    params = SamplingParams(seed=5, max_tokens=60)
    (whole,) = llm.chat(conversation, params, use_tqdm=False)
    assert "".join(llm.chat_stream(conversation, params)) == whole.outputs[0].text
    (other,) = llm.chat(conversation, params, use_tqdm=False, chat_template="{{ messages }}")
    streamed = "".join(llm.chat_stream(conversation, params, chat_template="{{ messages }}"))
    assert streamed == other.outputs[0].text != whole.outputs[0].text


def test_closing_a_stream_ends_its_request(loaded: NullLoaded) -> None:
    pieces = LLM(loaded).chat_stream([{"role": "user", "content": "hi"}])
    next(pieces)
    assert held(loaded) > 0
    pieces.close()
    assert held(loaded) == 0
    assert not loaded.engine.has_work


def test_a_model_without_a_template_says_so() -> None:
    with pytest.raises(ClientError, match="no chat template"):
        LLM(NullLoaded(chat=None)).chat([{"role": "user", "content": "hi"}])


def test_cached_prompt_tokens_are_counted(loaded: NullLoaded) -> None:
    llm = LLM(loaded)
    first, second = (llm.generate("x" * 40, GREEDY, use_tqdm=False)[0] for _ in range(2))
    assert (first.num_cached_tokens, second.num_cached_tokens) == (0, 32)
    assert first.outputs == second.outputs


@pytest.mark.parametrize("stop", ["", [""], [3]])
def test_a_stop_that_is_no_text_is_refused(stop: object) -> None:
    with pytest.raises(ClientError, match="stop"):
        SamplingParams(stop=stop)  # type: ignore[arg-type]


def test_a_bar_counts_the_requests(loaded: NullLoaded, capsys: pytest.CaptureFixture[str]) -> None:
    LLM(loaded).generate(["a", "b"], GREEDY)
    shown = capsys.readouterr().err
    assert "2/2" in shown
    assert "tok/s" in shown


IMPORTS = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names}:
            raise ImportError(name + " is not there")
sys.meta_path.insert(0, Blocked())
"""


def run_blocked(code: str, *names: str) -> None:
    script = IMPORTS.replace("{names}", repr(names)) + code
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_offline_face_needs_no_server() -> None:
    run_blocked(
        "from octavo import LLM, SamplingParams; SamplingParams(); assert LLM",
        *("fastapi", "pydantic", "uvicorn", "starlette", "httpx", "jinja2", "tqdm", "torch"),
    )


def test_importing_octavo_imports_nothing_heavy() -> None:
    run_blocked("import octavo; octavo.__version__", "numpy", "tokenizers", "safetensors")
