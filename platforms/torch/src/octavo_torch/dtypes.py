"""Dtypes: what the contract's names are called in torch, and back.

Knows nothing of tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch

from octavo_platforms.tensor import DTYPES, DType

TORCH_OF: Mapping[DType, torch.dtype] = MappingProxyType(
    {name: getattr(torch, name) for name in DTYPES}
)
NAME_OF: Mapping[torch.dtype, DType] = MappingProxyType(
    {dtype: name for name, dtype in TORCH_OF.items()}
)
