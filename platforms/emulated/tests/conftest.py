"""The emulated device, opened once, where it can be built at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from octavo_emulated.device import probe

if TYPE_CHECKING:
    import torch

    from octavo_emulated.emulator import Emulator


@pytest.fixture(scope="session", autouse=True)
def few_threads() -> Iterator[None]:
    """The toys' products are so small that waking a second thread costs more than they do."""
    found = probe()
    if not found.found:
        pytest.skip(found.words)
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def emulator(few_threads: None) -> Emulator:
    from octavo_emulated.emulator import emulator as opened

    return opened()


@pytest.fixture(scope="session")
def device(emulator: Emulator) -> torch.device:
    import torch

    return torch.device("emu", 0)


@pytest.fixture
def limit(emulator: Emulator) -> Iterator[Emulator]:
    """The emulator, to be limited; as large as before afterwards."""
    before = emulator.stats().total_bytes
    yield emulator
    emulator.set_memory_limit(before)
