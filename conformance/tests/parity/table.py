"""The whole table of families, held on every platform, and written down as docs/models.md.

    python -m parity.table docs/models.md [--platform cpu --platform "jax bfloat16"] [--only WORDS]

A run of a part leaves what the page says of the rest. Fails where a row that a platform runs does
not hold. Knows nothing of what is compared.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from octavo.errors import DeviceError
from octavo.models.registry import ENCODERS, FAMILIES
from octavo_platforms import discover
from octavo_platforms.errors import CannotBind
from octavo_platforms.loaded import Platform
from octavo_platforms.tensor import DType

from .encoded import measure_encoder
from .encoders import ENCODER_ROWS, EncoderRow
from .families import ROWS
from .measured import EXACT, NARROW, OUTPUT_TOKENS, Measured, measure
from .row import Row

# Every platform, and the dtypes in which it is held. The oracle computes in float64 whatever it is
# asked for, so that one dtype says everything.
COLUMNS: tuple[tuple[str, DType], ...] = (
    ("oracle", "float32"),
    ("cpu", "float32"),
    ("cpu", "bfloat16"),
    ("cpu_native", "float32"),
    ("cpu_native", "bfloat16"),
    ("jax", "float32"),
    ("jax", "bfloat16"),
)
ALL_ROWS: tuple[Row | EncoderRow, ...] = (*ROWS, *ENCODER_ROWS)
Cells = dict[tuple[str, str], str]
"""What stands in the table, by row and column."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write and give the exit status: 1 where anything does not hold."""
    parser = argparse.ArgumentParser(description="Hold every family on every platform")
    parser.add_argument("page", type=Path)
    parser.add_argument("--platform", action="append", default=[])
    parser.add_argument("--only", action="append", default=[])
    args = parser.parse_args(argv)
    wanted = args.only or [""]
    rows = [row for row in ALL_ROWS if any(words in row.name for words in wanted)]
    cells = kept(args.page)
    problems: list[str] = []
    for platform, dtype in _columns(args.platform):
        column = f"{platform.info.name} {dtype}"
        for row in rows:
            found = _found(row, platform, dtype)
            cells[row.name, column] = _cell(found)
            told = () if isinstance(found, str) else found.problems
            problems += [f"{column}, {row.name}: {each}" for each in told]
        args.page.write_text(page(cells), encoding="utf-8")
    print("\n".join(problems) or f"{len(rows)} models hold")
    return 1 if problems else 0


def kept(path: Path) -> Cells:
    """Read the table that stands on a page, so that a run of a part leaves the rest."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    table = [_split(line) for line in lines if line.startswith("|")]
    starts = [index for index, line in enumerate(table) if line[0] == "model"]
    if not starts:
        return {}
    names, _, *found = table[starts[0] :]
    return {
        (row[0], name): cell for row in found for name, cell in zip(names[1:], row[1:], strict=True)
    }


def _split(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def _columns(names: Sequence[str]) -> Iterator[tuple[Platform, DType]]:
    here = {each.name for each in discover.installed()}
    for name, dtype in COLUMNS:
        is_wanted = not names or name in names or f"{name} {dtype}" in names
        if name not in here or not is_wanted:
            continue
        platform = discover.load(name)
        if platform.probe().found:
            yield platform, dtype


def _found(row: Row | EncoderRow, platform: Platform, dtype: DType) -> Measured | str:
    """Measure; give the op where a platform refuses one."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            if isinstance(row, EncoderRow):
                found = measure_encoder(row, platform, Path(folder), dtype)
            else:
                found = measure(row, platform, Path(folder), dtype)
        except (CannotBind, DeviceError) as refused:
            if isinstance(refused, DeviceError) and not isinstance(refused.__cause__, CannotBind):
                raise
            return str(refused).partition(" cannot run ")[2].partition("(")[0]
    print(f"{platform.info.name:10} {dtype:8} {row.name:45} {found}", file=sys.stderr, flush=True)
    return found


def page(cells: Cells) -> str:
    """Write the page, of the rows and columns that there are."""
    there = {column for _, column in cells}
    columns = [name for name in (f"{name} {dtype}" for name, dtype in COLUMNS) if name in there]
    lines = [_HEAD.format(exact=EXACT, narrow=NARROW, tokens=OUTPUT_TOKENS)]
    lines += ["| family | architectures |", "|---|---|"]
    named = [(family.name, family.architectures) for family in FAMILIES]
    named += [(each.name, (*each.architectures, *each.classifiers)) for each in ENCODERS]
    lines += [f"| {name} | {', '.join(f'`{each}`' for each in known)} |" for name, known in named]
    lines += ["", f"| model | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for row in ALL_ROWS:
        found = [cells.get((row.name, column), "") for column in columns]
        if any(found):
            lines.append(f"| {row.name} | {' | '.join(found)} |")
    return "\n".join([*lines, ""])


def _cell(found: Measured | str) -> str:
    if isinstance(found, str):
        return f"refuses `{found}`"
    mark = "FAILS: " if found.problems else ""
    beside = f" ({found.narrow:.2g})" if found.narrow else ""
    return f"{mark}{found.worst:.2g}{beside}, {found.equal}/{found.tokens}"


_HEAD = """# Models

This page is written by `./dev parity`, which writes a tiny random checkpoint of each model with
Hugging Face transformers, loads it as a user's is loaded, and compares.

In float32 a cell has the largest error of a logit, in standard deviations of all logits ({exact}
is allowed), by the entry `forward`, for a prompt whole and in parts; and how many of the greedy
tokens, {tokens} a request, are those of transformers, of prompts in parts, beside others and with
prefixes remembered. Tokens are held by the law of gaps, so that a tie is no error. In bfloat16 it
has the mean error, that of transformers itself in bfloat16 beside it ({narrow} times that is
allowed), and how many rows of logits have the same largest; of models that choose experts it is
what half the rows err by, because a row whose experts fell the other way is another row; of such
rows there may not be many more than of the reference's own. Tokens
come from the entry `step`, on the oracle from `forward` and `sample`. A platform that lacks an op
refuses a model by the op's name, before it reads a weight. An empty cell was not measured.

Encoders, and others that are pooled, have no tokens: a cell has the largest error of a number of
their vectors or of their scores of classes, in standard deviations, of prompts alone and together,
and how many of the prompts give together what they give alone; in bfloat16 it has the mean error,
and that of transformers itself beside it.

Architectures that are not here run by transformers' own code on platforms made of torch, around
our attention; so do models of these families whose config asks for more than is built.
`octavo plan MODEL` says which road a model takes and why, `octavo models` what runs where.

Some positions have one list of factors for short contexts and one for long ones (longrope: Phi-3,
Phi-3.5-MoE). Keys that are kept cannot turn anew when a context grows past the border, so a model
has one of the lists for as long as it is loaded: that for long ones where contexts may be longer
than those it was trained for at first, which `--max-model-len` decides. Hugging Face
transformers asks how long each context is, of Phi-3, and takes the short list alone, of
Phi-3.5-MoE, unlike its authors.
"""


if __name__ == "__main__":
    sys.exit(main())
