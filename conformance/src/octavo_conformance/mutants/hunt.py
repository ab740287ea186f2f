"""The hunt: run cases on a planted bug until one finds it, and check that it was the bug.

Cases of the bug's own area go first. The case that found it has to pass on the platform
without the bug, else it would find anything. Knows nothing of the bugs.
"""

from __future__ import annotations

from octavo_conformance.catalogue import CASES
from octavo_conformance.mutants.planted import ORACLE_ORIGIN, Mutant
from octavo_conformance.oracle.platform import platform
from octavo_conformance.running import run
from octavo_conformance.subject import given
from octavo_conformance.verdict import Result, Verdict


def hunt(mutant: Mutant) -> Result | None:
    """Give the result that found it; None for a survivor."""
    cases = sorted(CASES, key=lambda case: case.area not in mutant.areas)
    subject = given(mutant.plugin, name="oracle", origin=mutant.origin)
    sound = given(platform, name="oracle", origin=ORACLE_ORIGIN)
    case_of = {case.id: case for case in CASES}
    for result in run(subject, cases, is_fast=True):
        if result.verdict is not Verdict.FAIL:
            continue
        (control,) = run(sound, [case_of[result.case]], is_fast=True)
        if not control.verdict.is_bad and control.verdict is not Verdict.NOT_CLAIMED:
            return result
    return None
