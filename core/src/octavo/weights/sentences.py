"""What a folder of sentence-transformers says beside the model: which row stands for a text.

    modules.json               the parts in order: a transformer, pooling, perhaps a norm
    1_Pooling/config.json      which row, or the mean of all
    2_Dense/                   a layer behind that, and its weights; there may be several
    sentence_bert_config.json  how long a text may be
    config_sentence_transformers.json      what is put before a text, where nobody says what

A part that is not built is refused by name: without it vectors would look right, and be others.

Source: sentence-transformers, "Creating Custom Models". Knows nothing of graphs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from octavo.errors import ModelError, NotBuilt
from octavo.models.encoder import Between, Pooling, Projection, Weighing, num_classes
from octavo.models.reading import Config, flag, mapping, whole
from octavo.weights.beside import Beside
from octavo.weights.lowered import FileSource
from octavo.weights.safetensors import SafetensorsSource
from octavo_platforms.recipes import WeightSource

MODULES = "modules.json"
_POOLING: Mapping[str, Pooling] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
}
_WEIGHING: Mapping[str, Weighing] = {"Identity": "none", "Sigmoid": "sigmoid", "Softmax": "softmax"}
_BY_PROBLEM: Mapping[str, Weighing] = {
    "regression": "none",
    "single_label_classification": "softmax",
    "multi_label_classification": "sigmoid",
}
_ACTIVATIONS: Mapping[str, Between | None] = {
    "Identity": None,
    "Tanh": "tanh",
    "GELU": "gelu",
    "ReLU": "relu",
    "SiLU": "silu",
    "Sigmoid": "sigmoid",
}
_BY_NAME: Mapping[str, Pooling] = {"cls": "cls", "mean": "mean", "lasttoken": "last"}


@dataclass(frozen=True, slots=True)
class Sentences:
    """How a text's row is made; None of `pooling` or `max_tokens` leaves it to the model.

    With `is_lower` texts are read in lower case; `prompt` is put before each. `projections` stand
    behind the pooling.
    """

    pooling: Pooling | None = None
    is_normalised: bool = True
    max_tokens: int | None = None
    is_lower: bool = False
    prompt: str = ""
    projections: tuple[Projection, ...] = ()


def has_sentences(folder: Path) -> bool:
    """Tell whether a folder says how its model is pooled."""
    return (folder / MODULES).is_file()


def sentences_of(folder: Path) -> Sentences:
    """Read a folder; one that says nothing has rows of length one, as its model takes them.

    Raises: NotBuilt, for a part or a way to pool that is not built; ModelError.
    """
    if not has_sentences(folder):
        return Sentences()
    pooling: Pooling | None = None
    is_normalised, prompt = False, _prompt(folder / "config_sentence_transformers.json")
    projections: list[Projection] = []
    for module in _modules(folder):
        kind = str(module.get("type", "")).rpartition(".")[2]
        place = folder / str(module.get("path", ""))
        if kind == "Pooling":
            said = _object(place / "config.json")
            pooling = _pooling(said, place / "config.json")
            if prompt and not flag(said, "include_prompt", default=True):
                raise NotBuilt(
                    f"{place / 'config.json'} leaves the prompt '{prompt}' out of the pooling, "
                    "which is not built. Use a model without such a prompt."
                )
        elif kind == "Normalize":
            is_normalised = True
        elif kind == "Dense" and pooling is not None and not is_normalised:
            projections.append(_projection(folder, str(module.get("path", ""))))
        elif kind != "Transformer":
            raise NotBuilt(
                f"{folder / MODULES} has a part of the kind '{kind}' there, which is not built; "
                "known, in this order: Transformer, Pooling, Dense, Normalize. Use a model of them."
            )
    settings = folder / "sentence_bert_config.json"
    said = _object(settings) if settings.is_file() else {}
    return Sentences(
        pooling=pooling,
        is_normalised=is_normalised,
        max_tokens=None if said.get("max_seq_length") is None else whole(said, "max_seq_length"),
        is_lower=flag(said, "do_lower_case", default=False),
        prompt=prompt,
        projections=tuple(projections),
    )


def with_projections(source: WeightSource, folder: Path, sentences: Sentences) -> WeightSource:
    """Give the weights of a folder's projections beside those of the model.

    Raises: ModelError, for missing or malformed files.
    """
    if not sentences.projections or not isinstance(source, FileSource):
        return source
    parts = {each.place: SafetensorsSource(folder / each.place) for each in sentences.projections}
    return Beside(source, parts)


def weighing_of(config: Config) -> Weighing:
    """Tell what makes probabilities of a classifier's scores, by what its config says.

    Source: sentence-transformers' CrossEncoder, for `sentence_transformers` and the older key;
        transformers' `problem_type`.
    """
    own = mapping(config, "sentence_transformers") or {}
    name = own.get("activation_fn") or config.get("sbert_ce_default_activation_function")
    if name is not None:
        kind = str(name).rpartition(".")[2]
        if kind not in _WEIGHING:
            raise NotBuilt(
                f"config.json: scores become probabilities by '{kind}', which is not built; "
                f"known: {', '.join(_WEIGHING)}. Use a model that weighs so."
            )
        return _WEIGHING[kind]
    by_problem = _BY_PROBLEM.get(str(config.get("problem_type")))
    return by_problem or ("sigmoid" if num_classes(config) == 1 else "softmax")


def _modules(folder: Path) -> list[Config]:
    found = _read(folder / MODULES)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ModelError(f"{folder / MODULES} is no list of parts. Fetch it again.")
    return found


def _pooling(config: Config, path: Path) -> Pooling:
    by_name = config.get("pooling_mode")
    asked = (
        [str(by_name)]
        if isinstance(by_name, str)
        else [name for name, value in config.items() if name.startswith("pooling_mode_") and value]
    )
    known = {**_POOLING, **_BY_NAME}
    if len(asked) != 1 or asked[0] not in known:
        raise NotBuilt(
            f"{path} pools by {' and '.join(asked) or 'nothing'}, which is not built; known: "
            f"one of {', '.join(_BY_NAME)}. Use a model that pools so."
        )
    return known[asked[0]]


def _projection(folder: Path, place: str) -> Projection:
    """Read a layer. Source: sentence-transformers, `models.Dense`."""
    if not place.isidentifier() and not place.replace("_", "").isalnum():
        raise ModelError(f"{folder / MODULES} has a part at '{place}', which is no folder of it.")
    path = folder / place / "config.json"
    config = _object(path)
    kind = str(config.get("activation_function", "Tanh")).rpartition(".")[2]
    if kind not in _ACTIVATIONS:
        raise NotBuilt(
            f"{path} has the activation '{kind}', which is not built; known: "
            f"{', '.join(_ACTIVATIONS)}. Use a model with one of these."
        )
    return Projection(
        place=place,
        n_in=whole(config, "in_features"),
        n_out=whole(config, "out_features"),
        activation=_ACTIVATIONS[kind],
        has_bias=flag(config, "bias", default=True),
    )


def _prompt(path: Path) -> str:
    """Give what is put before every text; that is one of several prompts, which has a name."""
    said = _object(path) if path.is_file() else {}
    name = said.get("default_prompt_name")
    if name is None:
        return ""
    found = (mapping(said, "prompts") or {}).get(str(name))
    if not isinstance(found, str):
        raise ModelError(f"{path} has no prompt '{name}', which it calls its default.")
    return found


def _object(path: Path) -> Config:
    found = _read(path)
    if not isinstance(found, dict):
        raise ModelError(f"{path} is no JSON object. Fetch it again.")
    return found


def _read(path: Path) -> object:
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error}). Fetch it again.") from error
    return found
