"""From what an operator types to a checkpoint: a folder, a GGUF file, a cached name, an address.

No tensor is read here, and nothing is fetched but an address's small files; what is wrong with a
path is said at once, with what to do about it.

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
from octavo.weights.code import is_pickled, pickled
from octavo.weights.dummy import DummyWeights
from octavo.weights.language import NOT_READ, text_config, text_source
from octavo.weights.lowered import FileSource
from octavo.weights.quantised import dequantised
from octavo.weights.safetensors import Opened, SafetensorsSource
from octavo_platforms.recipes import Recipe, Take, WeightSource

LOAD_FORMATS = ("auto", "dummy")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model on disk, in the words of Hugging Face whatever its format.

    Of a `dummy` one the weights are drawn and not read.
    `recipe` says, for a tensor's Hugging Face name, what to read from `source`. `tokenizer` is
    built at its first call and kept; `check_tokenizer` sees that it can be, as far as that can be
    known at once. `quantised` says how weights are stored in few bits, and what becomes of them;
    empty where they are not. `not_read` says which part of a model is left out. `rounding` names
    the format that the weights of linear layers are rounded as when they are placed.
    """

    name: str
    path: Path
    format: Literal["safetensors", "gguf", "dummy"]
    config: Mapping[str, object]
    generation: Mapping[str, object]
    source: WeightSource
    recipe: Callable[[str], Recipe]
    tokenizer: Callable[[], Tokenizer]
    quantised: str = ""
    not_read: str = ""
    rounding: str | None = None
    check_tokenizer: Callable[[], object] = lambda: None

    def file_of(self, name: str) -> Path:
        """Give the file that holds a tensor, the checkpoint's path where the source cannot tell."""
        return self.source.file_of(name) if isinstance(self.source, FileSource) else self.path

    def ahead(self, name: str) -> None:
        """Say that a tensor will be read soon, which a disk can use the time until then for."""
        if isinstance(self.source, FileSource):
            self.source.ahead(name)


def find(
    model: str,
    *,
    hub_cache: Path | None = None,
    revision: str | None = None,
    load_format: str = "auto",
    seed: int = 0,
    mirror: Path | None = None,
) -> Checkpoint:
    """Find a model: a folder, a .gguf file, or the name of a model downloaded from the hub.

    A path that exists goes before a name. `hub_cache` is the folder with `models--org--name`, and
    `revision` a branch, a tag or a commit there. In the load format `dummy` weights are drawn from
    `seed`, and none have to be there. An address such as s3://bucket/model is read by ranges, and
    its small files are copied into the folder `mirror`.

    Raises: ModelError, when there is no such model or its files cannot be used.
    """
    if load_format not in LOAD_FORMATS:
        raise ModelError(
            f"The load format '{load_format}' is not known. Choose one of: "
            f"{', '.join(LOAD_FORMATS)}."
        )
    dummy_seed = seed if load_format == "dummy" else None
    if "://" in model and mirror is not None:
        return _elsewhere(model, mirror, dummy_seed)
    path = Path(model).expanduser()
    if path.exists() and revision is not None:
        raise ModelError(
            f"--revision {revision} was given, but {path} is a local path, which has none. Give "
            "the name of a downloaded model, or leave it out."
        )
    if path.is_dir():
        return _in_folder(path, path.resolve().name, dummy_seed)
    if path.is_file():
        return _in_file(path, dummy_seed)
    if _HUB_NAME.fullmatch(model) and hub_cache is not None:
        return _in_folder(_snapshot(model, hub_cache, revision), model, dummy_seed)
    raise ModelError(
        f"There is no model at {path}. Give a folder with config.json and safetensors weights, "
        "or a .gguf file."
    )


def _in_folder(folder: Path, name: str, dummy_seed: int | None) -> Checkpoint:
    files = sorted(folder.glob("*.gguf"))
    if not files or any(folder.glob("*.safetensors")):
        return _huggingface(folder, name, dummy_seed)
    if len(files) > 1:
        raise ModelError(
            f"{folder} holds several GGUF files: {', '.join(file.name for file in files)}. "
            "Give the path of one of them."
        )
    return _gguf(files[0], dummy_seed)


def _in_file(path: Path, dummy_seed: int | None) -> Checkpoint:
    if path.suffix == ".gguf":
        return _gguf(path, dummy_seed)
    if is_pickled(path):
        raise ModelError(pickled(path.parent, [path.name]))
    raise ModelError(
        f"{path} is a file, but no .gguf file. For safetensors give the folder, {path.parent}."
    )


def _elsewhere(address: str, mirror: Path, dummy_seed: int | None) -> Checkpoint:
    from octavo.weights.remote import Remote

    if address.endswith(".gguf"):
        raise ModelError(
            f"{address} is a GGUF file, which is read from a local disk alone. Copy it here."
        )
    remote = Remote(address)
    folder = remote.mirrored(mirror)
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{address} holds no config.json, so it is no model. Give the address of a folder with "
            "config.json and safetensors weights."
        )
    return _huggingface(folder, address.rstrip("/").rpartition("/")[2], dummy_seed, remote.opened)


def _huggingface(
    folder: Path, name: str, dummy_seed: int | None, opened: Opened | None = None
) -> Checkpoint:
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{folder} holds no config.json and no .gguf file, so it is no model. Give a folder "
            "with config.json and safetensors weights, or a .gguf file."
        )
    whole = _json_object(folder / "config.json")
    config = text_config(whole)
    generation_path = folder / "generation_config.json"
    generation = _json_object(generation_path) if generation_path.is_file() else {}

    @functools.cache
    def tokenizer() -> Tokenizer:
        from octavo.tokenizer.hf import load_folder

        return load_folder(folder, config, generation)

    def check_tokenizer() -> Path:
        from octavo.tokenizer.hf import vocabulary_of

        return vocabulary_of(folder)

    def stored() -> FileSource:
        found = SafetensorsSource(folder, opened)
        return found if config is whole else text_source(found)

    source, quantised = (
        dequantised(stored(), config) if dummy_seed is None else (DummyWeights(dummy_seed), "")
    )
    return Checkpoint(
        name=name,
        path=folder,
        format="safetensors" if dummy_seed is None else "dummy",
        config=config,
        generation=generation,
        source=source,
        recipe=Take,
        tokenizer=tokenizer,
        quantised=quantised,
        not_read="" if config is whole else NOT_READ,
        check_tokenizer=check_tokenizer,
    )


def _gguf(path: Path, dummy_seed: int | None) -> Checkpoint:
    # The gguf library takes 0.2 s to import; only who opens such a file waits for it.
    from octavo.weights.gguf import GGUFFile
    from octavo.weights.gguf_config import gguf_config
    from octavo.weights.lowered import Lowered
    from octavo.weights.rules import gguf_rule, is_plus_one

    file = GGUFFile(path)
    config = gguf_config(file)
    architecture = str(file.metadata["general.architecture"])
    stored = Lowered(file.source, functools.partial(is_plus_one, architecture))

    @functools.cache
    def tokenizer() -> Tokenizer:
        from octavo.tokenizer.gguf import load_metadata

        return load_metadata(path, file.metadata, config)

    def check_tokenizer() -> None:
        from octavo.tokenizer.gguf import check_metadata

        check_metadata(path, file.metadata)

    return Checkpoint(
        name=path.stem,
        path=path,
        format="gguf" if dummy_seed is None else "dummy",
        config=config,
        generation={},
        source=stored if dummy_seed is None else DummyWeights(dummy_seed),
        recipe=gguf_rule(architecture, config, file.source.names()),
        tokenizer=tokenizer,
        check_tokenizer=check_tokenizer,
    )


def _snapshot(model: str, hub_cache: Path, revision: str | None) -> Path:
    """Find a downloaded model: the snapshot of a revision, else that of `main`, or the only one.

    A revision is what a name in `refs` points to, or a commit, also by its beginning.
    Source: huggingface_hub, "Understand caching".
    """
    folder = hub_cache / f"models--{model.replace('/', '--')}"
    snapshots = sorted(path for path in folder.glob("snapshots/*") if path.is_dir())
    if not snapshots:
        wanted = "" if revision is None else f" --revision {revision}"
        raise ModelError(
            f"{model} is no local path and has not been downloaded to {hub_cache}. "
            f"Fetch it (hf download {model}{wanted}), or give a local folder or .gguf file."
        )
    ref = folder / "refs" / (revision or "main")
    if folder / "refs" in ref.resolve().parents and ref.is_file():
        named = folder / "snapshots" / ref.read_text(encoding="utf-8").strip()
        if named.is_dir():
            return named
    if revision is not None:
        found = [path for path in snapshots if path.name.startswith(revision)]
        if len(found) == 1:
            return found[0]
        raise ModelError(
            f"{model} has not been downloaded to {hub_cache} at the revision {revision}; there "
            f"are {', '.join(path.name for path in snapshots)}. "
            f"Fetch it: hf download {model} --revision {revision}."
        )
    if len(snapshots) == 1:
        return snapshots[0]
    raise ModelError(
        f"{folder} holds several snapshots of {model} and no 'main': "
        f"{', '.join(path.name for path in snapshots)}. Give --revision, or the path of one."
    )


def _json_object(path: Path) -> Mapping[str, object]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is no JSON ({error}). Fetch it again.") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} is no JSON object. Fetch it again.")
    return value
