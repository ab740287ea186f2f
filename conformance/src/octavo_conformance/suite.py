"""The suite as a test file: `from octavo_conformance.suite import *  # noqa: F403`.

One test for each case, on the platform that `--octavo-device NAME` names, or that a
`conformance_subject` fixture of the author's own gives. Knows nothing of any case.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from octavo_conformance.case import Case
from octavo_conformance.catalogue import CASES
from octavo_conformance.running import Runner
from octavo_conformance.verdict import Failed, Verdict

__all__ = ["test_platform_keeps_its_promise"]


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_platform_keeps_its_promise(
    case: Case,
    conformance_runner: Runner,
    record_property: Callable[[str, object], None],
) -> None:
    """Run one case; skips only what was not promised."""
    found = conformance_runner.try_case(case)
    record_property("verdict", str(found.verdict))
    if found.verdict.is_bad:
        raise Failed(f"{case.sentence} {found.verdict}: {found.detail}") from found.error
    if found.verdict in (Verdict.NOT_CLAIMED, Verdict.ENV):
        pytest.skip(f"{found.verdict}: {found.detail}")
