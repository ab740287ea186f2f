"""Octavo: an LLM inference and serving engine whose core knows no device.

    from octavo import LLM, SamplingParams

The names load what they need when they are first used, so that `import octavo` is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from octavo.asking import SamplingParams
    from octavo.async_llm import AsyncLLM
    from octavo.beams import BeamSearchParams
    from octavo.llm import LLM
    from octavo.outputs import CompletionOutput, RequestOutput
    from octavo.vectors import (
        ClassificationRequestOutput,
        EmbeddingRequestOutput,
        PoolingParams,
        ScoringRequestOutput,
    )

__version__ = "0.1.0"
__all__ = [
    "LLM", "AsyncLLM", "SamplingParams", "BeamSearchParams", "RequestOutput", "CompletionOutput",
    "PoolingParams", "EmbeddingRequestOutput", "ClassificationRequestOutput",
    "ScoringRequestOutput", "__version__",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name == "LLM":
        from octavo.llm import LLM

        return LLM
    if name == "AsyncLLM":
        from octavo.async_llm import AsyncLLM

        return AsyncLLM
    if name == "SamplingParams":
        from octavo.asking import SamplingParams

        return SamplingParams
    if name == "BeamSearchParams":
        from octavo.beams import BeamSearchParams

        return BeamSearchParams
    if name in ("RequestOutput", "CompletionOutput"):
        from octavo import outputs

        found: object = getattr(outputs, name)
        return found
    if name in __all__:
        from octavo import vectors

        pooled: object = getattr(vectors, name)
        return pooled
    raise AttributeError(f"module 'octavo' has no attribute '{name}'")
