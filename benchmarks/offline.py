"""Offline throughput: a batch of requests, against transformers' `generate` in the same run.

    python benchmarks/offline.py --model SmolLM2.gguf --out benchmarks/results/NAME.json

Both run in this process with the same threads, in turn, on the same prompts: 32 to 512 prompt
tokens, 128 new ones, end-of-text ignored. Prints medians and the ratio.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, cast

import quiet
import torch
import transformers
import workload
from transformers import AutoModelForCausalLM, GgufConfig

import octavo

Generate = Callable[[list[list[int]], int], int]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="a .gguf file, or a folder of safetensors")
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="where to write JSON")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    peers = {"octavo": _octavo(args.model), "transformers": _transformers(args.model)}
    for generate in peers.values():
        generate(workload.batch(2, seed=1), 8)

    def measured(generate: Generate) -> Callable[[int], Mapping[str, float]]:
        def measure(attempt: int) -> Mapping[str, float]:
            prompts = workload.batch(args.requests, seed=1000 * args.requests + attempt)
            began = time.perf_counter()
            made = generate(prompts, args.new_tokens)
            took_s = time.perf_counter() - began
            assert made == args.requests * args.new_tokens, f"{made} tokens were made"
            return {"seconds": took_s, "out_tokens_per_s": made / took_s}

        return measure

    runs = quiet.alternate(
        {name: measured(generate) for name, generate in peers.items()},
        runs=args.runs,
        attempts=2 * args.runs,
    )
    rates = {name: quiet.summary(each, "out_tokens_per_s") for name, each in runs.items()}
    ratio = rates["octavo"]["median"] / rates["transformers"]["median"]
    report = {
        "what": f"{args.requests} requests of 32 to 512 tokens, {args.new_tokens} new, bfloat16",
        "machine": quiet.machine(),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "threads": args.threads,
        "out_tokens_per_s": rates,
        "others": {name: [round(run.others, 3) for run in each] for name, each in runs.items()},
        "octavo_over_transformers": ratio,
    }
    print(json.dumps(report, indent=1))
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _octavo(model: str) -> Generate:
    llm = octavo.LLM(model, dtype="bfloat16", max_num_seqs=128)

    def generate(prompts: list[list[int]], new_tokens: int) -> int:
        params = octavo.SamplingParams(temperature=0, max_tokens=new_tokens, ignore_eos=True)
        made = llm.generate(prompts, params, use_tqdm=False)
        return sum(len(each.outputs[0].token_ids) for each in made)

    return generate


class _Model(Protocol):
    def generate(self, **arguments: object) -> torch.Tensor: ...


def _model(model: str) -> _Model:
    path = Path(model)
    if path.is_file():
        loaded = AutoModelForCausalLM.from_pretrained(
            path.parent,
            gguf_file=path.name,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True),
        )
    else:
        loaded = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16)
    loaded.bfloat16()
    loaded.train(False)
    return cast("_Model", loaded)


def _transformers(model: str) -> Generate:
    loaded = _model(model)

    def generate(prompts: list[list[int]], new_tokens: int) -> int:
        longest = max(map(len, prompts))
        ids = torch.full((len(prompts), longest), 2)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt) :] = torch.tensor(prompt)
            mask[row, longest - len(prompt) :] = 1
        with torch.inference_mode():
            made = loaded.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=new_tokens,
                min_new_tokens=new_tokens,
                do_sample=False,
                pad_token_id=2,
            )
        return int((made.shape[1] - longest) * len(prompts))

    return generate


if __name__ == "__main__":
    main()
