"""The page for people: what holds each quantised scheme, and what it costs a real model.

    PYTHONPATH=conformance/tests python -m written.page docs/quantised.md

It is made of what the fixtures' headers say and of the figures that `./dev perplexity` wrote down.
Knows nothing of how either came about.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from safetensors import safe_open

from .catalogue import ROWS

FIXTURES = Path(__file__).parent / "fixtures"
RESULTS = Path(__file__).parents[3] / "benchmarks" / "results" / "perplexity.json"

_HEAD: Final = """# Quantised checkpoints

A quantised checkpoint is read by reference: its weights are made plain when they are placed, so
that every device runs it, in the memory of plain weights. `octavo plan MODEL` says what was found.
Rounding of activations that a scheme asks for is not applied, and is told.

This page is made by `./dev written --page`. The files that it speaks of are made by
`./dev written`, the figures by `./dev perplexity`; both leave out what is not installed.

## What holds each scheme

A library of each scheme wrote a small checkpoint. It lies in `conformance/tests/written/fixtures`,
beside a weight as that library makes it plain and the logits of the model that these weights are,
by transformers in float32. Both are compared in CI, where none of the libraries is installed:
weights to the last bits of float32, or of bfloat16 where the library multiplies in it. A scale
that is no number, and scales that do not fit, are refused by name for every one of them.

| scheme | held against |
|---|---|
"""
_ELSEWHERE: Final = """
GPTQ and AWQ are calibrated and packed by GPTQModel, which carries on AutoGPTQ's and AutoAWQ's
forms; AutoGPTQ was not tried, and AutoAWQ did not import here. AutoRound rounds to the nearest, as
what it learns stands in the same form; its asymmetric codes are made plain by GPTQModel. fp8 in
blocks is stored and made plain by the operations of transformers, whose quantiser itself asks for
an accelerator; so does ModelOpt's for `NVFP4` and `MXFP8`, whose tensors are packed without it, and
named as its export names them.

Held against the descriptions of their formats alone, by tests that pack by hand: int8 and fp8 under
the names `w8a8_int8`, `w8a8_fp8` and `fbgemm_fp8`, which are stored as others here are (the last
asks for an accelerator to be written, the other two are names that no library writes); stacked
experts with scales that are stacked alike. Every type of GGUF files is held against the `gguf`
package, bit for bit, and nine architectures against the logits of the transformers model that was
converted.

`octavo models` lists the schemes that are built. Others of transformers (among them `torchao`,
`quark`, `aqlm`, `eetq`, `spqr`, `vptq`, `bitnet` and `fp_quant`) are refused with that list; of
`quanto` transformers itself saves no checkpoint. What a file does not hold as its config says is
refused by file and tensor, with what is expected and what was found: `test_refused.py` has the
cases. One cannot be seen, asymmetric GPTQ whose `checkpoint_format` names the other version.

## What a scheme costs
"""
_COST: Final = """
Perplexity of SmolLM2-135M-Instruct on one text of {tokens} tokens
(`conformance/tests/written/text.txt`), with torch {torch} and transformers {transformers}. In
float32 both sides compute alike, so that equal figures say that files, names, order of rows and
tokens are read alike; in bfloat16 each side rounds in an order of its own. Schemes are computed in
float32, and what is not in the table was not measured. "The library, in transformers" computes the
weights that the scheme's library makes of a file (NVFP4's in bfloat16), and Octavo reads the same
file. A text as short
tells costs of some percent apart, and no smaller ones.

The folder was made of the Q4_1 file, rounded to bfloat16, so that its weights stand on sixteen
levels for each 32 of a row already, which are the groups of `--quantization int4`: it gives them
back as they are. What it costs other weights shows where its groups are laid across two of the
file's. GPTQ and AWQ have groups of 64; GPTQ is calibrated on 8 texts of 256 tokens and AWQ on 2 of
64, of this project's licence.

| weights | read by | activations | perplexity |
|---|---|---|---|
"""


def page() -> str:
    """Write the page."""
    return _HEAD + "\n".join(_schemes()) + "\n" + _ELSEWHERE + _figures()


def _schemes() -> Iterator[str]:
    for name, row in ROWS.items():
        with safe_open(FIXTURES / name / "expected.safetensors", "np") as file:
            said = file.metadata()
        libraries = ", ".join(f"{each} {said[each]}" for each in row.libraries)
        yield f"| {row.scheme} | {libraries} |"


def _figures() -> str:
    said = json.loads(RESULTS.read_text())
    head = _COST.format(tokens=said["text_tokens"], **said["versions"])
    first = {row["weights"]: place for place, row in reversed(list(enumerate(said["rows"])))}
    rows = [
        f"| {row['weights']} | {row['reader']} | {row['activations']} | {row['perplexity']:.4f} |"
        for row in sorted(said["rows"], key=lambda row: first[row["weights"]])
    ]
    return head + "\n".join(rows) + "\n"


def main() -> None:
    """Write the page to the path that is given."""
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
