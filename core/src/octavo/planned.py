"""The plan: what would run where, told for people before a weight is read.

Does not know how a plan is made.
"""

from __future__ import annotations

from dataclasses import dataclass

from octavo.amounts import show_bytes
from octavo.graph.cost import Load
from octavo.graph.passes.copies import COPY
from octavo.graph.show import columns, providers, table
from octavo.resolved import Resolved
from octavo.weights.find import Checkpoint
from octavo_platforms.binding import Binding
from octavo_platforms.capabilities import DeviceInfo
from octavo_platforms.loaded import Platform
from octavo_platforms.program import ProgramDef

_SHOWN = Load(num_tokens=1, num_requests=1, context_tokens=1024)


@dataclass(frozen=True, slots=True)
class Plan:
    """What would run where: a model, bound to a platform, with its memory counted.

    `road` says in words how it comes to run.
    """

    checkpoint: Checkpoint
    platform: Platform
    devices: tuple[DeviceInfo, ...]
    resolved: Resolved
    program: ProgramDef
    binding: Binding
    road: str
    weight_bytes: int

    @property
    def num_snapshots(self) -> int:
        """Count the states that can be kept: none where the platform cannot copy them."""
        return self.resolved.num_snapshots if COPY in self.binding.entries else 0

    def __str__(self) -> str:
        """Write the short form, as a server shows it when it starts."""
        return columns(self._lines())

    def full(self) -> str:
        """Write the short form and every op: its provider, reason and cost."""
        layouts = ", ".join(
            f"{group} in {layout.name}" for group, layout in self.binding.layouts.items()
        )
        kept = [("state layout", layouts)] if layouts else []
        lines = [*self._lines(), *kept, ("program", self.program.hash[:16])]
        why = [f"without '{name}': {reason}" for name, reason in self.binding.left_out.items()]
        return "\n\n".join([columns(lines), *why, table(self.program, self.binding, _SHOWN)])

    def _lines(self) -> list[tuple[str, str]]:
        resolved, info = self.resolved, self.platform.info
        why = resolved.why
        names = ", ".join(device.name for device in self.devices)
        dtype = f"{resolved.dtype} ({why['dtype']})"
        context = f"{resolved.max_context_tokens} tokens ({why['max_context_tokens']})"
        return [
            ("model", f"{self.checkpoint.name} ({self.program.name}, {self.checkpoint.format})"),
            ("runs", self.road),
            ("device", f"{info.name}: {names} (path: {info.standing})"),
            ("dtype", dtype),
            ("weights", f"{show_bytes(self.weight_bytes)} in {resolved.dtype}"),
            *self._cache(),
            ("context", context),
            *([("room", self._room())] if self.program.states else []),
            (
                "at once",
                f"{resolved.max_requests} requests ({why['max_requests']}), "
                f"{resolved.max_step_tokens} tokens a step ({why['max_step_tokens']}), "
                f"{resolved.max_in_flight} steps in flight ({why['max_in_flight']})",
            ),
            ("ops", providers(self.binding)),
            *([("quantised", self.checkpoint.quantised)] if self.checkpoint.quantised else []),
            *([("not read", self.checkpoint.not_read)] if self.checkpoint.not_read else []),
            *self._left_out(),
        ]

    def _cache(self) -> list[tuple[str, str]]:
        """Say what of the cache's memory became what."""
        if not self.program.states:
            return [("cache", "none: prompts are read whole and keep nothing")]
        resolved = self.resolved
        groups = [state for state in self.program.states if state.kind in ("paged", "window")]
        count = [resolved.window_blocks.get(each.name, resolved.num_blocks) for each in groups]
        size, why = show_bytes(resolved.kv_cache_bytes), resolved.why["num_blocks"]
        if not groups:
            return [("cache", f"{size} for {self.num_snapshots} states behind prefixes, no blocks")]
        lines = [f"{size} for {count[0]} blocks of {resolved.block_size} tokens ({why})"]
        for group, own in zip(groups[1:], count[1:], strict=True):
            lines.append(f"{own} blocks for layers that see {group.window} tokens")
        if self.num_snapshots:
            lines.append(f"{self.num_snapshots} states that can be kept behind prefixes")
        return list(zip(["cache", *["and"] * len(lines[1:])], lines, strict=True))

    def _room(self) -> str:
        """Say how many requests fit at once, at what length."""
        resolved = self.resolved
        found = f"{resolved.num_at_once} requests of {resolved.max_context_tokens} tokens at once"
        if resolved.num_at_once == resolved.max_requests:
            return found
        each = (resolved.num_blocks or 0) // resolved.max_requests * resolved.block_size
        return f"{found}, or {resolved.max_requests} of {each}"

    def _left_out(self) -> list[tuple[str, str]]:
        names = ", ".join(self.binding.left_out)
        words = "the host does what they would, or it is refused"
        return [("left out", f"{names}: {words}")] if names else []
