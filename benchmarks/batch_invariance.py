"""Whether outputs depend on the batch, and what it costs that they do not.

    python benchmarks/batch_invariance.py --model SmolLM2.gguf --out benchmarks/results/NAME.json

Twenty prompts, greedy and seeded, are answered alone. Then each again: with the others beside
it, in chunks of 24 tokens, after their own prefixes were left in the cache, and in a cache so
small that requests are preempted. Counts the outputs that are the same, token for token, with
batch invariance and without, and the tokens a second of the crowd.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import quiet

import octavo

NUM_PROMPTS = 20
AT_ONCE = 16
NUM_TOKENS = 16
VOCAB_SIZE = 40_000


@dataclass(frozen=True, slots=True)
class Trial:
    """What differs from sixteen requests at once on an empty cache without limits."""

    step_tokens: int | None = None
    cache_bytes: int | None = None
    prefix_caching: bool = False


TRIALS: Mapping[str, Trial] = {
    "with 15 others": Trial(),
    "in chunks": Trial(step_tokens=24),
    "after prefix hits": Trial(prefix_caching=True),
    "after preemption": Trial(cache_bytes=24 << 20),
}
Outputs = list[Sequence[int]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    results = {
        name: measure(args.model, args.device, batch_invariant=name == "invariant")
        for name in ("invariant", "plain")
    }
    found = {"machine": quiet.machine(), "of": 2 * NUM_PROMPTS, **results}
    print(json.dumps(found, indent=2))
    if args.out:
        args.out.write_text(json.dumps(found, indent=2) + "\n")


def measure(model: str, device: str, *, batch_invariant: bool) -> dict[str, object]:
    """Count equal outputs in each trial, and time the crowd."""
    alone: Outputs = []
    same: dict[str, int] = {}
    seconds = 0.0
    for name, trial in {"alone": Trial(), **TRIALS}.items():
        llm = octavo.LLM(
            model,
            device=device,
            max_model_len=1024,
            max_num_seqs=AT_ONCE,
            max_num_batched_tokens=trial.step_tokens,
            kv_cache_memory_bytes=trial.cache_bytes,
            enable_prefix_caching=trial.prefix_caching,
            batch_invariant=batch_invariant,
        )
        if name == "alone":
            alone = [run(llm, [prompt], [params])[0] for prompt, params in asked()]
            continue
        prompts, params = (list(each) for each in zip(*asked(), strict=True))
        if trial.prefix_caching:
            run(llm, prompts, params)
        started = time.perf_counter()
        found = run(llm, prompts, params)
        if name == "with 15 others":
            seconds = time.perf_counter() - started
        same[name] = sum(one == other for one, other in zip(found, alone, strict=True))
    return {"same": same, "tokens_per_second": 2 * NUM_PROMPTS * NUM_TOKENS / seconds}


def asked() -> list[tuple[list[int], octavo.SamplingParams]]:
    """Give each prompt twice: greedy, and seeded."""
    drawn = np.random.default_rng(7)
    found = []
    for seed, length in enumerate(drawn.integers(40, 200, NUM_PROMPTS).tolist()):
        prompt = drawn.integers(0, VOCAB_SIZE, length).tolist()
        for temperature in (0.0, 1.0):
            params = octavo.SamplingParams(
                temperature=temperature, seed=seed, max_tokens=NUM_TOKENS, ignore_eos=True
            )
            found.append((prompt, params))
    return found


def run(llm: octavo.LLM, prompts: list[list[int]], params: list[octavo.SamplingParams]) -> Outputs:
    """Answer prompts together."""
    return [each.outputs[0].token_ids for each in llm.generate(prompts, params, use_tqdm=False)]


if __name__ == "__main__":
    main()
