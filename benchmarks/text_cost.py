"""What a token costs until it is text: from a step's array of tokens to each output's new text.

Every output reads on in a text of its own place, as in a steady decode step: `english` is prose, in
which nearly every token is text of its own; `scripts` is Chinese, Hindi and pictographs, whose
characters this vocabulary spells over several tokens. With stop strings each text is searched as
well. What is timed is what `LLM` and the server's processes do with a step's tokens.

    python benchmarks/text_cost.py --model SmolLM2.gguf --out benchmarks/results/text-cost.json

Knows nothing of engines: who wakes whom, and what a token costs on its way to a socket, is not in
here.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter_ns

import numpy as np
import numpy.typing as npt
import quiet

from octavo.asking import SamplingParams
from octavo.outputs import OutputText
from octavo.request import Request
from octavo.testing.loaded import NullLoaded
from octavo.tokenizer import Tokenizer
from octavo.weights import find

SCRIPTS = (
    "北冥有鱼。其名为鲲。鲲之大。不知其几千里也。化而为鸟。其名为鹏。"
    "सत्यमेव जयते नानृतम्। 🙂🚀🌊 いろはにほへと ちりぬるを 훈민정음 "
)
STOPS = ("\n\nUser:", "###")
WARM_UP_STEPS = 16


def spent_us(
    tokenizer: Tokenizer, token_ids: Sequence[int], stop: Sequence[str], shape: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """Time steps in which each of many outputs gets a token.

    Shapes: `shape` is the number of requests, and of steps that are timed; gives one time a step.
    Units: microseconds a token.
    """
    num_requests, num_steps = shape
    model = NullLoaded(tokenizer=tokenizer)
    params = SamplingParams(max_tokens=None, stop=stop)
    request = Request("prompt", np.array(token_ids[:8], np.int32), params)
    outputs = [OutputText(model, request, params) for _ in range(num_requests)]
    starts = np.random.default_rng(0).integers(0, len(token_ids), num_requests)
    text = np.array(token_ids, np.int32)
    gc.collect()
    spent = []
    for step in range(WARM_UP_STEPS + num_steps):
        tokens = text[(starts + step) % len(text)]
        began = perf_counter_ns()
        for output, token in zip(outputs, tokens.tolist(), strict=True):
            output.push(token, None)
        spent.append((perf_counter_ns() - began) / num_requests / 1000)
    assert all(output.finish_reason is None for output in outputs), "no stop string is in the text"
    return np.array(spent[WARM_UP_STEPS:])


def measure(tokenizer: Tokenizer, all_requests: Sequence[int], num_steps: int) -> dict[str, float]:
    """Give medians and 99th percentiles over steps, for each text, stop strings and batch."""
    prose = (Path(__file__).parent.parent / "ARCHITECTURE.md").read_text(encoding="utf-8")
    figures = {}
    for name, text in {"english": prose.replace(STOPS[1], ""), "scripts": SCRIPTS}.items():
        token_ids = tokenizer.encode(text, add_special_tokens=False)
        figures[f"{name}, share of plain tokens"] = plain_share(tokenizer, token_ids)
        for stop in ((), STOPS):
            for num_requests in all_requests:
                spent = spent_us(tokenizer, token_ids, stop, (num_requests, num_steps))
                key = f"{name}, {len(stop)} stop strings, {num_requests} requests"
                figures[f"{key}, median"] = float(np.median(spent))
                figures[f"{key}, p99"] = float(np.percentile(spent, 99))
    return figures


def plain_share(tokenizer: Tokenizer, token_ids: Sequence[int]) -> float:
    """Give the share of tokens that are text of their own, from 0 to 1."""
    plain = tokenizer.stream(skip_special_tokens=True).plain
    return sum(plain[token_id] is not None for token_id in token_ids) / len(token_ids)


def main() -> None:
    """Measure until enough runs were quiet; write their medians as JSON where asked to."""
    parser = argparse.ArgumentParser(description="The cost of text, a token.")
    parser.add_argument("--model", type=Path, required=True, help="a GGUF file or a folder")
    parser.add_argument("--requests", type=int, nargs="+", default=[1, 256, 4096])
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--attempts", type=int, default=12)
    parser.add_argument("--out", type=Path, help="write the numbers here, as JSON")
    arguments = parser.parse_args()
    tokenizer = find(str(arguments.model)).tokenizer()

    def run(_: int) -> dict[str, float]:
        return measure(tokenizer, arguments.requests, arguments.steps)

    runs = quiet.alternate({"text": run}, runs=arguments.runs, attempts=arguments.attempts)["text"]
    found = {key: round(quiet.summary(runs, key)["median"], 3) for key in runs[0].figures}
    for key, figure in found.items():
        print(f"{figure:>8.3f}  {key}")
    what = (
        "microseconds a token, from a step's tokens to text; median and 99th "
        f"percentile of {arguments.steps} steps, each the median of {len(runs)} runs"
    )
    others = [round(each.others, 3) for each in runs]
    quiet.write(arguments.out, what, {"others": others, **found})


if __name__ == "__main__":
    main()
