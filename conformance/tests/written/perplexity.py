"""How well a model foretells a fixed text: ours beside transformers', and after rounding.

    ./dev perplexity --model SmolLM2-135M-Instruct --gguf SmolLM2-135M-Instruct.Q4_1.gguf
        --out benchmarks/results/perplexity.json

Every figure is exp of the mean loss over the first tokens of one text, `text.txt` beside this file.
In float32 both sides compute alike, so that what differs is what they make of the files; in
bfloat16 each rounds in an order of its own. Schemes are computed in float32 as well, so that what
they cost is what their rounding costs. A row whose library is not installed is left out, and told.
`--only NAME ...` measures some, and keeps what the file holds of others.

Knows nothing of how a scheme is written or read.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, GgufConfig

from octavo.graph.passes import with_copies
from octavo.models.decoder import Limits
from octavo.models.registry import family
from octavo.testing.drive import Logits, Running, run_on
from octavo.weights.find import find
from octavo.weights.load import from_checkpoint
from octavo.weights.quantised.online import FORMATS, Rounded, rounded
from octavo.weights.relayed import Relayed
from octavo_platforms import discover
from octavo_platforms.tensor import DType, HostTensor

from .catalogue import ROWS, Asked, Row
from .sources import Plain
from .write import logits_of

TEXT = Path(__file__).with_name("text.txt")
BLOCK_SIZE, CHUNK, NUM_TOKENS = 16, 256, 512
THEIRS = "the library, in transformers"
HALF = 16
ELSEWHERE = "the folder, --quantization int4, groups across two of its own"
PLAIN = ("folder", "gguf", "online")


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: who read what, in which dtype of activations, and what came out."""

    reader: str
    weights: str
    dtype: str
    perplexity: float


def perplexity(logits: Logits, token_ids: Sequence[int]) -> float:
    """Give exp of the mean loss of each token but the first, by the logits before it."""
    rows = logits[:-1].astype(np.float64)
    chosen = rows[np.arange(len(rows)), list(token_ids)[1:]]
    return float(np.exp(np.mean(np.logaddexp.reduce(rows, axis=1) - chosen)))


def token_ids_of(model: Path, num_tokens: int = NUM_TOKENS) -> list[int]:
    """Give the text's ids by the model's own tokenizer, without special ones."""
    text = TEXT.read_text(encoding="utf-8")
    return find(str(model)).tokenizer().encode(text, add_special_tokens=False)[:num_tokens]


@dataclass(frozen=True, slots=True)
class Turned(Relayed):
    """A source, some of whose tensors are turned by a count along an axis of each."""

    axis_of: Mapping[str, int]
    count: int

    def read(self, name: str) -> HostTensor:
        """Give one tensor."""
        stored, axis = self.source.read(name), self.axis_of.get(name)
        if axis is None:
            return stored
        return HostTensor(np.roll(stored.array, self.count, axis), stored.dtype)


def by_octavo(
    model: Path,
    token_ids: Sequence[int],
    dtype: DType = "float32",
    *,
    rounding: str | None = None,
    turn: int = 0,
) -> float:
    """Read a checkpoint as a user's is read, rounded or not, and score the text on the CPU.

    What is rounded is turned before by a count of inputs, and back after: groups begin elsewhere.
    """
    checkpoint = find(str(model))
    built = family(checkpoint.config)
    limits = Limits(
        max_step_tokens=CHUNK,
        max_requests=1,
        max_blocks=NUM_TOKENS // BLOCK_SIZE,
        block_size=BLOCK_SIZE,
    )
    written = built.program(built.spec(checkpoint.config), dtype=dtype, limits=limits)
    program = with_copies(from_checkpoint(written, checkpoint), most=1)
    source = rounded(checkpoint.source, program, rounding)
    if isinstance(source, Rounded) and turn:
        turned = Turned(checkpoint.source, source.axis_of, turn)
        source = Turned(replace(source, source=turned), source.axis_of, -turn)
    platform = discover.load("cpu")
    running: Running = run_on(platform, program, source, num_blocks=NUM_TOKENS // BLOCK_SIZE + 1)
    try:
        return perplexity(running.logits(token_ids, chunk=CHUNK), token_ids)
    finally:
        running.program.close()


def by_transformers(model: Path, token_ids: Sequence[int], dtype: torch.dtype) -> float:
    """Read a checkpoint with transformers, a GGUF file by its own reader, and score the text."""
    if model.suffix == ".gguf":
        found = AutoModelForCausalLM.from_pretrained(
            model.parent,
            gguf_file=model.name,
            dtype=dtype,
            quantization_config=GgufConfig(dequantize=True),
        )
    else:
        found = AutoModelForCausalLM.from_pretrained(model, dtype=dtype)
    with torch.no_grad():
        logits = found(torch.tensor([list(token_ids)])).logits[0].float().numpy()
    return perplexity(logits, token_ids)


def figures(name: str, model: Path, gguf: Path | None, ids: Sequence[int]) -> Iterator[Figure]:
    """Measure what a name stands for: `folder`, `gguf`, `online`, or a written checkpoint."""
    match name:
        case "folder":
            yield from _plain(model, "the bfloat16 folder", ids)
        case "gguf":
            if gguf is not None:
                yield from _plain(gguf, "the Q4_1 file", ids)
        case "online":
            for scheme in FORMATS:
                found = by_octavo(model, ids, rounding=scheme)
                yield Figure("octavo", f"the folder, --quantization {scheme}", "float32", found)
            found = by_octavo(model, ids, rounding="int4", turn=HALF)
            yield Figure("octavo", ELSEWHERE, "float32", found)
        case _:
            yield from _written(name, model, ids)


def _plain(path: Path, weights: str, ids: Sequence[int]) -> Iterator[Figure]:
    yield Figure("transformers", weights, "float32", by_transformers(path, ids, torch.float32))
    yield Figure("octavo", weights, "float32", by_octavo(path, ids, "float32"))
    yield Figure("transformers", weights, "bfloat16", by_transformers(path, ids, torch.bfloat16))
    yield Figure("octavo", weights, "bfloat16", by_octavo(path, ids, "bfloat16"))


def _written(name: str, model: Path, ids: Sequence[int]) -> Iterator[Figure]:
    row = ROWS[name]
    with tempfile.TemporaryDirectory() as at:
        into = Path(at) / name
        try:
            said = ", ".join(f"{library} {version(library)}" for library in row.libraries)
            plain = row.write(Asked(model, into, calibration(model, row), is_small=False))
        except ImportError as error:
            print(f"{name}: left out: {error}")
            return
        yield from of_written(f"{row.scheme}, by {said}", model, into, plain, ids)


def of_written(
    weights: str, model: Path, into: Path, plain: Plain, ids: Sequence[int]
) -> Iterator[Figure]:
    """Score a file that was written by what its library makes of it, and by our reading."""
    logits = logits_of(model, into, plain, ids).numpy()
    yield Figure(THEIRS, weights, "float32", perplexity(logits, ids))
    yield Figure("octavo", weights, "float32", by_octavo(into, ids))


def calibration(model: Path, row: Row) -> list[list[int]]:
    """Give texts to calibrate on, which are not the text that is scored: the licence."""
    licence = Path(__file__).parents[3] / "LICENSE"
    tokenizer = find(str(model)).tokenizer()
    ids = tokenizer.encode(licence.read_text(encoding="utf-8"), add_special_tokens=False)
    count, length = row.texts
    return [ids[start * length : (start + 1) * length] for start in range(count)]


def merged(path: Path, found: Sequence[Figure], num_tokens: int) -> str:
    """Write figures down, beside those of other weights that a file has already."""
    held = json.loads(path.read_text())["rows"] if path.is_file() else []
    rows = {(row["reader"], row["weights"], row["activations"]): row for row in held}
    for each in found:
        rows[each.reader, each.weights, each.dtype] = {
            "reader": each.reader,
            "weights": each.weights,
            "activations": each.dtype,
            "perplexity": round(each.perplexity, 4),
        }
    versions = {name: version(name) for name in ("torch", "transformers")}
    said = {"text_tokens": num_tokens, "versions": versions, "rows": list(rows.values())}
    return json.dumps(said, indent=1) + "\n"


def main() -> None:
    """Measure what is asked for, and add it to what the file holds of other rows."""
    names = [*PLAIN, *(name for name in ROWS if not name.startswith("gpt-oss"))]
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="a folder of safetensors")
    parser.add_argument("--gguf", type=Path, help="a GGUF file of the same model")
    parser.add_argument("--only", nargs="*", choices=names, default=names, metavar="NAME")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    ids = token_ids_of(given.model)
    for name in given.only:
        for figure in figures(name, given.model, given.gguf, ids):
            print(f"{figure.reader}: {figure.weights}, {figure.dtype}: {figure.perplexity:.4f}")
            told = merged(given.out, [figure], len(ids))
            given.out.write_text(told)
        gc.collect()


if __name__ == "__main__":
    main()
