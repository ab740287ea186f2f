"""Bindings: which kernel runs each node of a program, who gave it, and why.

The result of `bind`, as data: a platform's `compile` reads it, `octavo plan` prints it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from octavo_platforms.errors import CannotBind
from octavo_platforms.graph import Graph
from octavo_platforms.platform import Instruction, Kernel, StateLayout


@dataclass(frozen=True, slots=True)
class Choice:
    """The kernel of one node, the distribution that provides it, and the refusals before it.

    `compound` names the op of the model that this node is a piece of, where nobody claimed it
    whole. `writes` are the positions of the node's inputs that a run of it changes, as its op
    says: a platform of pure functions gives new values for these.
    """

    kernel: Kernel | Instruction
    provider: str
    refusals: tuple[str, ...]
    compound: str | None
    writes: tuple[int, ...] = ()

    def to_call(self) -> Kernel:
        """Give the kernel, for a platform that calls kernels. Raises: CannotBind."""
        if isinstance(self.kernel, Kernel):
            return self.kernel
        raise CannotBind(
            f"'{self.kernel.name}' by {self.provider} is an instruction for a compiler of whole "
            "programs, and this platform calls kernels; give a Kernel, or implement `compile`"
        )

    def to_compile(self) -> Instruction:
        """Give the instruction, for a platform that compiles them. Raises: CannotBind."""
        if isinstance(self.kernel, Instruction):
            return self.kernel
        raise CannotBind(
            f"'{self.kernel.name}' by {self.provider} is a kernel to be called, and this platform "
            "compiles whole programs of instructions; answer None, so that its own is asked"
        )


@dataclass(frozen=True, slots=True)
class BoundEntry:
    """An entry after binding: unclaimed compounds are expanded, each node has its choice."""

    graph: Graph
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Binding:
    """All entries of a program, bound to one platform, and each state group's layout.

    `left_out` are optional entries that the platform goes without, each with the reason.
    """

    entries: Mapping[str, BoundEntry]
    layouts: Mapping[str, StateLayout]
    left_out: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
