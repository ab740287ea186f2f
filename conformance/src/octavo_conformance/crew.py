"""The crew: the processes that are the ranks of a platform under test, and what they found.

They are started when the first case asks, do all checks, and end; what they found is kept, an
end before its time included. Knows nothing of what a check does (`ranked`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from octavo.testing.together import MemberFailed, together
from octavo_conformance.subject import Subject

RANKS = 2
WORK = "octavo_conformance.ranked:run"

Told = tuple[str | None, str, Sequence[str]]
"""What is wrong with a check, if anything is; its digest; which code was not the plugin's own."""


@dataclass(slots=True)
class Crew:
    """The ranks of one subject."""

    subject: Subject
    _found: Sequence[Mapping[str, Told]] | MemberFailed | None = field(default=None)

    def told(self, check: str) -> list[Told]:
        """Give what each rank tells of a check. Raises: MemberFailed, where one ended early."""
        if self._found is None:
            self._found = self._run()
        if isinstance(self._found, MemberFailed):
            raise self._found
        return [each[check] for each in self._found]

    def _run(self) -> Sequence[Mapping[str, Told]] | MemberFailed:
        subject = self.subject
        try:
            found = together(
                WORK,
                ranks=RANKS,
                name=subject.name,
                origin=subject.origin,
                mode=subject.mode,
                installed=subject.candidate is not None,
            )
        except MemberFailed as failure:
            return failure
        return cast(Sequence[Mapping[str, Told]], found)
