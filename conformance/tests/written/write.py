"""Write the fixtures: a tiny checkpoint of each scheme by its own library, and what it stands for.

    PYTHONPATH=conformance/tests python -m written.write conformance/tests/written/fixtures [NAME]

Beside a checkpoint's own files lies `expected.safetensors`: one weight as the library makes it
plain, and the logits of the model whose weights these are, by transformers in float32. Its header
names the versions. Rows whose library is not installed are left as they are, and told.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from .catalogue import ROWS, Asked, Row
from .sources import VOCAB, Plain

PROMPT = tuple(np.random.default_rng(1).integers(3, VOCAB, 12).tolist())
KEPT = ("config.json", "model.safetensors", "quantize_config.json")


def logits_of(source: Path, written: Path, plain: Plain, token_ids: Sequence[int]) -> torch.Tensor:
    """Compute with transformers, in float32, the model of what was written made plain."""
    config = AutoConfig.from_pretrained(source)
    model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    stored = load_file(written / "model.safetensors")
    state = {name: each.float() for name, each in stored.items() if name in model.state_dict()}
    model.float().load_state_dict({**state, **plain}, strict=False)
    model.train(False)
    with torch.no_grad():
        logits: torch.Tensor = model(torch.tensor([list(token_ids)])).logits[0]
    return logits


def expected(source: Path, written: Path, plain: Plain) -> dict[str, torch.Tensor]:
    """Give one plain weight and the logits of a prompt."""
    logits = logits_of(source, written, plain, PROMPT)
    smallest = min(plain, key=lambda name: plain[name].numel())
    return {smallest: plain[smallest].contiguous(), "logits": logits.float().contiguous()}


def write(name: str, row: Row, fixtures: Path) -> None:
    """Write one fixture anew."""
    with tempfile.TemporaryDirectory() as at:
        source, into = row.tiny(Path(at) / "source"), Path(at) / "written"
        texts = np.random.default_rng(0).integers(3, VOCAB, (8, 64)).tolist()
        plain = row.write(Asked(source, into, texts, is_small=True))
        made = expected(source, into, plain)
        folder = fixtures / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for each in KEPT:
            if (into / each).is_file():
                shutil.copyfile(into / each, folder / each)
    said = {library: version(library) for library in row.libraries}
    save_file(made, folder / "expected.safetensors", said)


def main() -> None:
    """Write the fixtures that are asked for, or all."""
    fixtures, wanted = Path(sys.argv[1]), sys.argv[2:]
    for name, row in ROWS.items():
        if wanted and name not in wanted:
            continue
        try:
            write(name, row, fixtures)
        except (ImportError, PackageNotFoundError) as error:
            print(f"{name}: left as it is: {error}")
        else:
            print(f"{name}: written")


if __name__ == "__main__":
    main()
