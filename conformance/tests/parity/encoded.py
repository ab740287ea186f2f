"""Holding one encoder of the table against transformers, on one platform in one dtype.

    alone     each prompt in a launch of its own
    together  all of them, as many in a step as fit

In float32 the rows of both have to be transformers', of prompts in one segment and in two; in
bfloat16 they may be as far off as those of transformers itself in bfloat16, and a part further.

A model is loaded as a user's is. Knows no family.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel

from octavo.config import from_environment
from octavo.loading import load_any
from octavo.pooler import Pooler, PoolRequest, Rows
from octavo.vectors import PooledModel
from octavo_platforms.inputs import Ints
from octavo_platforms.loaded import Platform
from octavo_platforms.tensor import DType

from .encoders import EncoderRow
from .measured import EXACT, NARROW, Measured
from .row import VOCAB

SIZES = (3, 40, 17, 61, 1, 50)
MORE_SIZES = (*SIZES, *range(5, 64, 4))
STEP_TOKENS, REQUESTS = 64, 4


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt, and each token's segment. Shapes: [T] twice."""

    ids: Ints
    segments: Ints


def measure_encoder(
    row: EncoderRow, platform: Platform, folder: Path, dtype: DType = "float32"
) -> Measured:
    """Write a row's checkpoint and hold our rows against its module's."""
    return holds(row, row.write(folder), platform, folder, dtype)


def holds(
    row: EncoderRow,
    module: PreTrainedModel,
    platform: Platform,
    folder: Path,
    dtype: DType = "float32",
) -> Measured:
    """Hold rows of a written checkpoint against a module's."""
    settings = replace(
        from_environment({}),
        model=str(folder),
        device=platform.info.name,
        dtype=dtype,
        max_context_tokens=STEP_TOKENS,
        max_step_tokens=STEP_TOKENS,
        max_requests=REQUESTS,
    )
    found = load_any(settings)
    assert isinstance(found, PooledModel), "an encoder pools or scores"
    assert found.num_classes == (module.config.num_labels if row.scores else None)
    given = _prompts(found, SIZES if dtype == "float32" else MORE_SIZES)
    behind = _projections(row, folder)
    exact = _reference(row, module, given, behind)
    alone = np.stack([_rows(found.pooler, [each])[0] for each in given])
    together = _rows(found.pooler, given)
    size = float(np.std(exact))
    apart = np.max(np.abs(together - alone), axis=-1) / size
    if dtype != "float32":
        rounded = _reference(row, module.bfloat16(), given, behind.bfloat16())
        narrow = _mean(rounded - exact) / size
        off = max(_mean(each - exact) / size for each in (alone, together))
        near = int(np.sum(apart <= NARROW * narrow))
        problem = f"rows are {off:.2g} off, those of the reference {narrow:.2g}"
        return Measured(off, narrow, len(given), near, () if off <= NARROW * narrow else (problem,))
    worst = max(float(np.max(np.abs(each - exact))) / size for each in (alone, together))
    near = int(np.sum(apart <= EXACT))
    problems = [] if worst <= EXACT else [f"a number is {worst:.2g} deviations off"]
    if near < len(given):
        problems.append(f"{len(given) - near} of {len(given)} rows are others beside others")
    return Measured(worst, 0.0, len(given), near, tuple(problems))


def _prompts(model: PooledModel, sizes: Sequence[int]) -> list[Asked]:
    """Draw prompts, every second one of two segments where the model tells these apart."""
    generator = np.random.default_rng(0)
    found = []
    for index, size in enumerate(sizes):
        ids = generator.integers(3, VOCAB, size).astype(np.int32)
        is_second = np.arange(size) >= (size if index % 2 else size // 3)
        segments = (is_second & model.tells_segments).astype(np.int32)
        found.append(Asked(ids, segments))
    return found


def _rows(pooler: Pooler, given: Sequence[Asked]) -> Rows:
    for index, each in enumerate(given):
        pooler.add(PoolRequest(f"{index}", each.ids, each.segments))
    found: dict[str, Rows] = {}
    while pooler.has_work:
        found.update(pooler.step())
    return np.stack([found[f"{index}"] for index in range(len(given))])


def _projections(row: EncoderRow, folder: Path) -> torch.nn.Sequential:
    """Read the layers behind the pooling, as sentence-transformers names them."""
    made: list[torch.nn.Module] = []
    for number, said in enumerate(row.dense, start=2):
        tensors = load_file(folder / f"{number}_Dense" / "model.safetensors")
        n_out, n_in = tensors["linear.weight"].shape
        layer = torch.nn.Linear(n_in, n_out, bias="linear.bias" in tensors)
        layer.load_state_dict(
            {name.removeprefix("linear."): each for name, each in tensors.items()}
        )
        made += [layer, *([torch.nn.Tanh()] if "Tanh" in str(said) else [])]
    return torch.nn.Sequential(*made)


def _reference(
    row: EncoderRow,
    module: PreTrainedModel,
    given: Sequence[Asked],
    behind: torch.nn.Sequential,
) -> Rows:
    pooled = np.stack([_reference_row(row, module, each) for each in given])
    if not row.dense:
        return pooled
    with torch.no_grad():
        made = behind(torch.from_numpy(pooled).to(next(behind.parameters()).dtype))
    found: Rows = made.float().numpy()
    return found


def _reference_row(row: EncoderRow, module: PreTrainedModel, asked: Asked) -> Rows:
    ids, segments = (torch.from_numpy(each)[None].long() for each in (asked.ids, asked.segments))
    more = {"token_type_ids": segments} if asked.segments.any() else {}
    with torch.no_grad():
        made = module(input_ids=ids, **more)
    rows: torch.Tensor = made.logits if row.scores else made.last_hidden_state[0]
    found: Rows = rows.float().numpy()
    chosen: Rows = found[-1] if row.modules.get("pooling_mode_lasttoken") else found[0]
    is_mean = row.modules.get("pooling_mode_mean_tokens") or row.family == "nomic"
    return found.mean(axis=0) if is_mean and not row.scores else chosen


def _mean(off: Rows) -> float:
    return float(np.sqrt(np.mean(off**2)))
