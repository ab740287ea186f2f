"""The suite on the oracle: every case passes on the platform that all others are judged by.

Does not know what a case proves.
"""

from __future__ import annotations

import pytest

from octavo_conformance.case import Case
from octavo_conformance.catalogue import CASES, LEVELS, selected
from octavo_conformance.mutants.planted import ORACLE_ORIGIN
from octavo_conformance.oracle.platform import MODES, OraclePlatform, platform
from octavo_conformance.running import run
from octavo_conformance.subject import given
from octavo_conformance.verdict import Failed, Result, Verdict
from octavo_platforms.capabilities import PlatformInfo, Probe
from octavo_platforms.errors import CannotBind
from octavo_platforms.hooks import hookimpl
from octavo_platforms.platform import Kernel
from octavo_platforms.specs import LinearSpec, OpSpec


@pytest.mark.parametrize("mode", MODES)
def test_oracle_keeps_every_promise_in_each_mode(mode: str) -> None:
    subject = given(platform, name="oracle", origin=ORACLE_ORIGIN, mode=mode)
    results = list(run(subject, CASES, is_fast=True))
    assert [result for result in results if result.verdict.is_bad] == []
    assert [result.case for result in results] == [case.id for case in CASES]


def test_compound_that_nobody_claims_is_reported_as_fallback() -> None:
    (result,) = results_on(platform, "rotary_kv_write float32")
    assert result.verdict is Verdict.FALLBACK
    assert "rotary_kv_write as its primitives" in result.detail


def test_kernel_of_another_package_is_reported_as_fallback() -> None:
    subject = given(platform, name="oracle", origin="octavo_elsewhere:platform")
    (result,) = run(subject, selected((2,), "adds_its_bias float32"))
    assert result.verdict is Verdict.FALLBACK
    assert result.detail == "linear by octavo_conformance"


class NoBfloat16:
    @hookimpl
    def platform_info(self) -> PlatformInfo:
        return PlatformInfo(name="oracle", device="host", vendor="none", dtypes=("float32",))


def test_dtype_that_was_not_declared_is_not_tested() -> None:
    (result,) = results_on(OraclePlatform(overrides=[NoBfloat16()]), "adds_its_bias bfloat16")
    assert result.verdict is Verdict.NOT_CLAIMED


class NoDevice:
    @hookimpl
    def probe(self) -> Probe:
        return Probe(False, "no driver is loaded", 0)


def test_missing_device_is_env_above_level_0_and_nothing_below() -> None:
    results = results_on(OraclePlatform(overrides=[NoDevice()]), "")
    assert {result.verdict for result in results if result.level > 0} == {Verdict.ENV}
    below = {result.verdict for result in results if result.level == 0}
    assert below <= {Verdict.PASS, Verdict.NOT_CLAIMED}


class Stumbles:
    @hookimpl
    def bind_linear(self, spec: LinearSpec) -> Kernel:
        raise ZeroDivisionError("a tile of no width")


def test_exception_is_a_crash_and_the_next_case_runs() -> None:
    results = results_on(OraclePlatform(overrides=[Stumbles()]), "float32")
    verdicts = {result.area: result.verdict for result in results}
    assert verdicts["linear"] is Verdict.CRASH
    assert verdicts["rms_norm"] is Verdict.PASS


class RefusesEmbeddings:
    @hookimpl
    def bind_op(self, spec: OpSpec) -> Kernel | None:
        if spec.op == "embedding":
            raise CannotBind("tables of this size do not fit")
        return None


def test_refusal_of_a_claimed_dtype_is_a_failure_in_its_own_words() -> None:
    plugin = OraclePlatform(overrides=[RefusesEmbeddings()])
    (result,) = results_on(plugin, "looks_up float32")
    assert result.verdict is Verdict.FAIL
    assert "tables of this size do not fit" in result.detail


def test_every_op_of_the_catalogue_has_a_case_and_an_oracle() -> None:
    from octavo_conformance.oracle import ORACLE
    from octavo_conformance.oracle.ranks import COLLECTIVES
    from octavo_platforms.ops import STANDARD

    assert {*ORACLE, *COLLECTIVES} == set(STANDARD)
    covered = {case.area for case in CASES if case.level == 2}
    inside = {"add": "pointwise", "mul": "pointwise", "silu": "pointwise", "flatten": "heads"}
    inside |= {"kv_read": "kv_write", "latent_read": "latent_write", "recv": "send"}
    inside |= dict.fromkeys(("gelu", "gelu_tanh", "relu"), "activation")
    assert {inside.get(op, op) for op in STANDARD} <= covered


def test_cases_have_distinct_ids_and_a_sentence_each() -> None:
    assert len({case.id for case in CASES}) == len(CASES)
    assert all(case.sentence.endswith((".", "?")) for case in CASES)
    assert {case.level for case in CASES} == set(LEVELS)


def test_failure_carries_the_drawn_example() -> None:
    from octavo_conformance.mutants.mistakes import positions_from_zero
    from octavo_conformance.mutants.planted import WrongOp

    wrong = OraclePlatform(overrides=[WrongOp("positions", positions_from_zero)])
    (result,) = results_on(wrong, "counts_from")
    assert "example=" in result.detail


def test_broken_promise_is_an_assertion_error() -> None:
    case = Case(0, "package", "fails", "It fails.", None, lambda bench: _raise())
    (result,) = run(given(platform, name="oracle", origin=ORACLE_ORIGIN), [case])
    assert (result.verdict, result.detail) == (Verdict.FAIL, "two, not one")


def _raise() -> None:
    raise Failed("two, not one")


def results_on(plugin: object, words: str) -> list[Result]:
    subject = given(plugin, name="oracle", origin=ORACLE_ORIGIN)
    return list(run(subject, selected(words=words), is_fast=True))
