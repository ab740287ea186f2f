"""Configs as people publish them: keys left out, null, or in the words of older versions.

What transformers takes such a config to mean, we mean, or refuse it by the key. No weight is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from transformers import CONFIG_MAPPING

from octavo.errors import ModelError
from octavo.models.reading import mapping
from octavo.models.registry import ENCODERS, FAMILIES

from .encoders import CLASSES, ENCODER_ROWS, EncoderRow
from .families import ROWS
from .row import SIZES, Row

Config = Mapping[str, object]
FAMILY_OF = {family.name: family for family in FAMILIES}
ENCODER_OF = {family.name: family for family in ENCODERS}
# Rows that are saved under another family's name, or around a model that sees, are no forms of
# what this family's class reads.
OWN: list[Row | EncoderRow] = [
    *(row for row in ROWS if not row.said and not row.kind),
    *(row for row in ENCODER_ROWS if row.family in ENCODER_OF),
]
NOT_READ = frozenset({"architectures", "model_type"})


def forms(full: Config) -> Iterator[tuple[str, Config]]:
    """Give other ways to write a config, each with its name."""
    for key in full.keys() - NOT_READ:
        rest = {name: value for name, value in full.items() if name != key}
        yield f"no {key}", rest
        yield f"{key} null", {**rest, key: None}
    new = mapping(full, "rope_parameters") or {}
    if not new or any(isinstance(each, Mapping) for each in new.values()):
        return
    rest = {name: value for name, value in full.items() if name != "rope_parameters"}
    outside = ("rope_theta", "partial_rotary_factor")
    for kind in ("type", "rope_type"):
        said = {name: value for name, value in new.items() if name not in (*outside, "rope_type")}
        old = {**said, kind: new.get("rope_type", "default")}
        beside = {name: new[name] for name in outside if name in new}
        yield f"rope_scaling by {kind}", {**rest, **beside, "rope_scaling": old}
        if old[kind] == "default":
            yield f"no rope_scaling, by {kind}", {**rest, **beside, "rope_scaling": None}


@pytest.mark.parametrize("family", sorted({row.family for row in OWN}))
def test_a_config_means_what_transformers_takes_it_to_mean_or_is_refused_by_its_key(
    family: str,
) -> None:
    wrong = [each for row in OWN if row.family == family for each in _differences(row)]
    assert wrong == []


def _differences(row: Row | EncoderRow) -> Iterator[str]:
    without = row.without if isinstance(row, Row) else {"num_key_value_heads"}
    sizes = {key: value for key, value in SIZES.items() if key not in without}
    read = CONFIG_MAPPING[row.kind or row.family]
    full = read.from_dict({**sizes, "num_labels": CLASSES, **row.options}).to_dict()
    assert _spec(row, full) == _spec(row, read.from_dict(full).to_dict())
    compared = 0
    for what, form in forms(full):
        try:
            meant = read.from_dict(dict(form)).to_dict()
            wanted = _spec(row, meant)
        except Exception:
            continue  # a form that the class itself does not take
        compared += 1
        try:
            found = _spec(row, form)
        except ModelError as refused:
            if what.removeprefix("no ").removesuffix(" null") not in str(refused):
                yield f"{row.name}, {what}: {refused}"
        else:
            if found != wanted:
                yield f"{row.name}, {what}"
    assert compared >= len(full) / 2, "most forms are such as the class takes"


def _spec(row: Row | EncoderRow, config: Config) -> object:
    if isinstance(row, Row):
        return FAMILY_OF[row.family].spec(config)
    family = ENCODER_OF[row.family]
    (name, *_) = family.classifiers if row.scores else family.architectures
    return family.spec({**config, "architectures": [name]})
