"""From what an operator types to a checkpoint: a folder, a GGUF file, or a name in a local cache.

Nothing is fetched here and no tensor is read; what is wrong with a path is said at once, with
what to do about it.

Knows nothing of the environment: where the cache of downloaded models lies is an argument.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from octavo.errors import ModelError
from octavo.tokenizer import Tokenizer
from octavo.weights.safetensors import PICKLES, SafetensorsSource
from octavo_platforms.recipes import Recipe, Take, WeightSource

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model on disk, in the words of Hugging Face whatever its format.

    `recipe` says, for a tensor's Hugging Face name, what to read from `source`. `tokenizer` is
    built at its first call and kept.
    """

    name: str
    path: Path
    format: Literal["safetensors", "gguf"]
    config: Mapping[str, object]
    generation: Mapping[str, object]
    source: WeightSource
    recipe: Callable[[str], Recipe]
    tokenizer: Callable[[], Tokenizer]


def find(model: str, *, hub_cache: Path | None = None) -> Checkpoint:
    """Find a model: a folder, a .gguf file, or the name of a model downloaded from the hub.

    A path that exists goes before a name. `hub_cache` is the folder with `models--org--name`.

    Raises: ModelError, when there is no such model or its files cannot be used.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        return _in_folder(path, name=path.resolve().name)
    if path.is_file():
        return _in_file(path)
    if _HUB_NAME.fullmatch(model) and hub_cache is not None:
        return _in_folder(_snapshot(model, hub_cache), name=model)
    raise ModelError(
        f"There is no model at {path}. Give a folder with config.json and safetensors weights, "
        "or a .gguf file."
    )


def _in_folder(folder: Path, *, name: str) -> Checkpoint:
    files = sorted(folder.glob("*.gguf"))
    if not files or any(folder.glob("*.safetensors")):
        return _huggingface(folder, name)
    if len(files) > 1:
        raise ModelError(
            f"{folder} holds several GGUF files: {', '.join(file.name for file in files)}. "
            "Give the path of one of them."
        )
    return _gguf(files[0])


def _in_file(path: Path) -> Checkpoint:
    if path.suffix == ".gguf":
        return _gguf(path)
    if any(path.match(pattern) for pattern in PICKLES):
        raise ModelError(
            f"{path} is a pickled checkpoint, which can run any code when it is opened, and is "
            "refused. Convert the model to safetensors, or give a .gguf file."
        )
    raise ModelError(
        f"{path} is a file, but no .gguf file. For safetensors give the folder, {path.parent}."
    )


def _huggingface(folder: Path, name: str) -> Checkpoint:
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{folder} holds no config.json and no .gguf file, so it is no model. Give a folder "
            "with config.json and safetensors weights, or a .gguf file."
        )
    config = _json_object(folder / "config.json")
    generation_path = folder / "generation_config.json"
    generation = _json_object(generation_path) if generation_path.is_file() else {}

    @functools.cache
    def tokenizer() -> Tokenizer:
        from octavo.tokenizer.hf import load_folder

        return load_folder(folder, config, generation)

    return Checkpoint(
        name=name,
        path=folder,
        format="safetensors",
        config=config,
        generation=generation,
        source=SafetensorsSource(folder),
        recipe=Take,
        tokenizer=tokenizer,
    )


def _gguf(path: Path) -> Checkpoint:
    # The gguf library takes 0.2 s to import; only who opens such a file waits for it.
    from octavo.weights.gguf import GGUFFile
    from octavo.weights.gguf_config import gguf_config
    from octavo.weights.rules import llama_gguf

    file = GGUFFile(path)
    config = gguf_config(file)

    @functools.cache
    def tokenizer() -> Tokenizer:
        from octavo.tokenizer.gguf import load_metadata

        return load_metadata(path, file.metadata, config)

    return Checkpoint(
        name=path.stem,
        path=path,
        format="gguf",
        config=config,
        generation={},
        source=file.source,
        recipe=llama_gguf(config, file.source.names()),
        tokenizer=tokenizer,
    )


def _snapshot(model: str, hub_cache: Path) -> Path:
    """Find a downloaded model: the snapshot that `main` names, or the only one.

    Source: huggingface_hub, "Understand caching".
    """
    folder = hub_cache / f"models--{model.replace('/', '--')}"
    main = folder / "refs" / "main"
    if main.is_file():
        named = folder / "snapshots" / main.read_text(encoding="utf-8").strip()
        if named.is_dir():
            return named
    snapshots = sorted(path for path in folder.glob("snapshots/*") if path.is_dir())
    if len(snapshots) == 1:
        return snapshots[0]
    if snapshots:
        raise ModelError(
            f"{folder} holds several snapshots of {model} and no 'main': "
            f"{', '.join(path.name for path in snapshots)}. Give the path of one of them."
        )
    raise ModelError(
        f"{model} is no local path and has not been downloaded to {hub_cache}. "
        f"Fetch it (hf download {model}), or give a local folder or .gguf file."
    )


def _json_object(path: Path) -> Mapping[str, object]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is no JSON ({error}). Fetch it again.") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} is no JSON object. Fetch it again.")
    return value
