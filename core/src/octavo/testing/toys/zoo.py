"""The zoo: the toys that generate, by name, at one size that every platform can run.

Toys that do something else than generate are launched by their own tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from octavo.models.decoder import Limits
from octavo.testing.toys import experts, latent, llama, recurrent, windows
from octavo_platforms.program import ProgramDef

VOCAB_SIZE = 101
NUM_BLOCKS = 40
LIMITS = Limits(max_step_tokens=32, max_requests=4, max_blocks=16, block_size=4)

GENERATORS: Mapping[str, Callable[[], ProgramDef]] = MappingProxyType(
    {
        "llama": lambda: llama.program(llama.spec(), limits=LIMITS),
        "latent": lambda: latent.program(llama.spec(), limits=LIMITS),
        "experts": lambda: experts.program(llama.spec(), limits=LIMITS),
        "recurrent": lambda: recurrent.program(llama.spec(), limits=LIMITS),
        "alone": lambda: recurrent.alone(llama.spec(), limits=LIMITS),
        "windows": lambda: windows.program(llama.spec(), limits=LIMITS),
    }
)
