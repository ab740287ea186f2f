"""The table of `octavo models`."""

from __future__ import annotations

from octavo.cli.models import Answer, Row, ask_all, quantised, table
from octavo.models.registry import ENCODERS, FAMILIES
from octavo.weights.quantised import METHODS

ENTRIES = ("forward", "sample")
REFUSAL = "the platform 'small' cannot run layer_norm"


def row(name: str, **answers: Answer) -> Row:
    return Row(name, (f"{name.title()}ForCausalLM",), ENTRIES, answers)


def test_a_refusal_is_told_once_however_many_families_meet_it() -> None:
    refused = Answer(refusal=REFUSAL)
    made = table(
        [
            row("one", large=Answer(), small=refused),
            row("two", large=Answer(("sample",)), small=refused),
        ]
    )
    lines = made.splitlines()
    assert lines[0].split() == ["FAMILY", "ARCHITECTURES", "LARGE", "SMALL"]
    assert lines[1].split() == ["one", "OneForCausalLM", "yes", "no", "(1)"]
    assert lines[2].split() == ["two", "TwoForCausalLM", "yes", "(2)", "no", "(1)"]
    assert made.count(REFUSAL) == 1
    assert "(2) on the host: sample" in made
    assert "entries: forward, sample" in made


def test_no_platform_at_all_leaves_the_families() -> None:
    made = table([row("one")])
    assert "OneForCausalLM" in made
    assert "No platform finds its device" in made


def test_every_scheme_of_quantised_checkpoints_is_told() -> None:
    assert all(f" {name}" in quantised() for name in METHODS)


def test_every_family_is_asked_of_every_platform_that_is_found() -> None:
    rows = list(ask_all())
    encoders = [f"{each.name}, {kind}" for each in ENCODERS for kind in ("pool", "classes")]
    assert [each.name for each in rows] == [*(family.name for family in FAMILIES), *encoders]
    assert [each.entries for each in rows[-2:]] == [("pool",), ("score",)]
    assert all(each.answers["oracle"] == Answer() for each in rows)
