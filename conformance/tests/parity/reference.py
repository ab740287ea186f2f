"""The reference of the parity tests: Hugging Face transformers, run in float32 by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from octavo.graph.passes import with_copies
from octavo.models.decoder import Limits
from octavo.models.registry import family
from octavo.models.spec import DecoderSpec
from octavo.testing.drive import Running, run_on
from octavo.weights.find import find
from octavo.weights.load import from_checkpoint
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.loaded import Platform
from octavo_platforms.tensor import DType

Logits = npt.NDArray[np.float32]


Change = Callable[[DecoderSpec], DecoderSpec]


class Reference(Protocol):
    """A transformers model, as far as these tests use it."""

    def __call__(self, input_ids: torch.Tensor) -> object: ...


def reference_logits(model: Reference, context: Sequence[int]) -> Logits:
    """Give the reference's logits after each token, [T, V]."""
    with torch.no_grad():
        made = model(torch.tensor([list(context)]))
    logits: torch.Tensor = made.logits[0]  # type: ignore[attr-defined]
    found: Logits = logits.float().numpy()
    return found


def as_read(spec: DecoderSpec) -> DecoderSpec:
    """Change nothing."""
    return spec


def ours(
    path: Path,
    platform: Platform,
    *,
    dtype: DType = "float32",
    num_blocks: int = 64,
    limits: Limits | None = None,
    settings: DeviceSettings | None = None,
    change: Change = as_read,
) -> Running:
    """Load a checkpoint as Octavo does, with small limits.

    `settings` say which rank it is for; `change` is a mistake in what its config is read as.
    """
    checkpoint = find(str(path))
    built = family(checkpoint.config)
    sizes = limits or Limits(max_step_tokens=48, max_requests=8, max_blocks=16, block_size=16)
    written = built.program(change(built.spec(checkpoint.config)), dtype=dtype, limits=sizes)
    program = with_copies(from_checkpoint(written, checkpoint), most=4)
    return run_on(platform, program, checkpoint.source, num_blocks=num_blocks, settings=settings)
