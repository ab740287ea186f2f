"""The page for people: each way of being broken, and the message that it leads to.

    python -m octavo.testing.broken.page docs/checkpoints.md

Knows nothing of how a case is made.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from octavo.errors import ModelError
from octavo.testing.broken.cases import FILES, FOLDERS, Case
from octavo.testing.broken.files import tensors, write_shards
from octavo.testing.broken.loaded import CountedMemory, load_all

_HEAD: Final = """# Checkpoints that cannot be used

A checkpoint is held against the model before anything of it is placed: its files against their
headers, its tensors' names, shapes and kinds against what the model's config asks for. A sample of
each weight is looked at on its way to the device. Whatever is wrong is said with the file, the
tensor, and what was expected and found; and what had been placed until then is given back.

What nobody can see in a file are numbers that are wrong and finite: two tensors of one shape that
were exchanged, or a block of zeros in place of weights. Compare the files' hashes with those of
where they came from. What holds each quantised scheme is on a page of its own, quantised.md.

This page is made by loading a broken toy in each of these ways:
`python -m octavo.testing.broken.page docs/checkpoints.md`.
"""


def said(case: Case, memory: CountedMemory) -> str:
    """Give the message that a case leads to, nothing where it is loaded; MODEL is its folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "MODEL"
        folder.mkdir()
        write_shards(folder, tensors())
        case.breaks(folder)
        try:
            load_all(folder, memory)
        except ModelError as error:
            return str(error).replace(str(folder), "MODEL")
    return ""


def page() -> str:
    """Write the page."""
    return "\n".join(
        [
            _HEAD,
            "## Folders with safetensors\n",
            *_rows(FOLDERS),
            "## GGUF files\n",
            *_rows(FILES),
        ]
    )


def _rows(cases: Sequence[Case]) -> list[str]:
    return [f"**{case.what}.**\n\n> {said(case, CountedMemory())}\n" for case in cases]


def main() -> None:
    """Write the page to the path that is given."""
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
