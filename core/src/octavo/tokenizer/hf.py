"""The tokenizer of a Hugging Face folder: its vocabulary and what tokenizer_config.json adds.

The vocabulary is a tokenizer.json or, where there is none, Mistral's tekken.json, a SentencePiece
model, a tiktoken file, or a bare vocabulary of a class that is known. Older folders have more files
beside the settings: special_tokens_map.json and added_tokens.json are read where the settings list
no added tokens themselves.

Knows nothing of weights; the model's config is asked only for the ids that end an output.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import tokenizers

from octavo.errors import ModelError
from octavo.tokenizer import slow, spm, tekken, tiktoken
from octavo.tokenizer.special import eos_ids_of, surround
from octavo.tokenizer.text import Tokenizer

_Config = Mapping[str, object]

_OWN_FILE = "tokenizer.json"
_OTHER_FILES = (
    "tekken.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "*.tiktoken",
    "tiktoken.model",
)

_SLOW_FILES = ("vocab.json", "merges.txt", "vocab.txt", "tokenization_*.py")


def load_folder(folder: Path, config: _Config, generation: _Config) -> Tokenizer:
    """Load the tokenizer of a folder.

    Raises: ModelError, for a missing or malformed file.
    Source: transformers 5, `TokenizersBackend`: a token that tokenizer_config.json names is
        special; what surrounds a text is the post-processor's alone, whatever `add_bos_token`
        says there. Only where the file has no such thing (SentencePiece, tiktoken) does it say.
    """
    settings = _all_settings(folder)
    backend, own_tokens = _backend(folder, settings)
    named = {key: _content(value) for key, value in settings.items() if key.endswith("_token")}
    special_tokens = own_tokens | {role: text for role, text in named.items() if text}
    _add_tokens(backend, settings, special_tokens)
    if backend.post_processor is None and not (folder / _OWN_FILE).is_file():
        adds_first = settings.get("add_bos_token", bool(own_tokens))
        surround(
            backend,
            first=special_tokens.get("bos_token") if adds_first else None,
            last=special_tokens.get("eos_token") if settings.get("add_eos_token") else None,
        )
    return Tokenizer(
        backend,
        special_tokens=special_tokens,
        eos_ids=eos_ids_of(config, generation),
        chat_templates=_chat_templates(folder, settings),
    )


def vocabulary_of(folder: Path) -> Path:
    """Find the file that holds a folder's vocabulary, without reading it.

    Raises: ModelError, saying what is there instead and how to convert it.
    """
    if (folder / _OWN_FILE).is_file():
        return folder / _OWN_FILE
    others = [path for name in _OTHER_FILES for path in sorted(folder.glob(name))]
    if others:
        return others[0]
    kind = _settings(folder / "tokenizer_config.json").get("tokenizer_class")
    if (path := slow.file_of(folder, kind)) is not None:
        return path
    found = [path.name for name in _SLOW_FILES for path in sorted(folder.glob(name))]
    instead = (
        f"It has {', '.join(found)}, which do not say how text is cut into words, and its settings "
        f"name the class {kind}; known are {', '.join(slow.CLASSES)}. "
        if found
        else "Fetch it, from where the weights came from. "
    )
    raise ModelError(
        f"{folder} has no tokenizer.json, and none of {', '.join(_OTHER_FILES)}. {instead}Where "
        "there is no tokenizer.json, make one: load the folder with transformers' AutoTokenizer "
        "and call save_pretrained(folder)."
    )


def _backend(folder: Path, settings: _Config) -> tuple[tokenizers.Tokenizer, dict[str, str]]:
    """Load the vocabulary, and the special tokens that it names itself, by role."""
    path = vocabulary_of(folder)
    if path.name == _OWN_FILE:
        try:
            backend = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing more precise
            raise ModelError(f"{path} is no tokenizer ({error}). Fetch it again.") from error
        backend.no_truncation()
        backend.no_padding()
        return backend, {}
    if path.name == "tekken.json":
        return tekken.backend_of(path)
    if path.name in _SLOW_FILES:
        return slow.backend_of(path, settings)
    with path.open("rb") as file:
        if path.suffix != ".model" or not spm.is_model(file.read(1)):
            return tiktoken.backend_of(path), {}
    pieces = spm.read_pieces(path)
    asked = settings.get("add_prefix_space")
    backend = spm.backend_of(
        path,
        pieces,
        begins_with_space=asked if isinstance(asked, bool) else pieces.begins_with_space,
        only_first=settings.get("legacy") is False,
    )
    roles = {f"{name}_token": pieces.role(name) for name in pieces.role_ids}
    return backend, {role: text for role, text in roles.items() if text is not None}


def _all_settings(folder: Path) -> _Config:
    """Read tokenizer_config.json and, where it lists no added tokens, the older files beside it."""
    settings = dict(_settings(folder / "tokenizer_config.json"))
    if "added_tokens_decoder" not in settings:
        settings |= _settings(folder / "special_tokens_map.json")
        added = _settings(folder / "added_tokens.json")
        special = {_content(value) for key, value in settings.items() if key.endswith("_token")}
        if added:
            settings["added_tokens_decoder"] = {
                token_id: {"content": text, "special": text in special, "normalized": False}
                for text, token_id in added.items()
            }
    more = settings.get("extra_special_tokens") or settings.get("additional_special_tokens")
    if isinstance(more, dict):  # by role
        settings |= more
    settings["extra_special_tokens"] = list(more.values()) if isinstance(more, dict) else more
    return settings


def _settings(path: Path) -> _Config:
    if not path.is_file():
        return {}
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is no JSON ({error}). Fetch it again.") from error
    if not isinstance(settings, dict):
        raise ModelError(f"{path} is no JSON object. Fetch it again.")
    return settings


def _content(token: object) -> str | None:
    """Read a token that is written as its text, or as an object with its text."""
    match token:
        case str(text) | {"content": str(text)}:
            return text
    return None


def _add_tokens(
    backend: tokenizers.Tokenizer, settings: _Config, special_tokens: Mapping[str, str]
) -> None:
    known = {token.content for token in backend.get_added_tokens_decoder().values()}
    listed = settings.get("added_tokens_decoder")
    entries = listed if isinstance(listed, dict) else {}
    for token_id in sorted(entries, key=_as_id):
        entry = entries[token_id]
        text = _content(entry)
        if text is not None and text not in known:
            flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
            options = {flag: bool(entry[flag]) for flag in flags if flag in entry}
            backend.add_tokens([tokenizers.AddedToken(text, **options)])
            known.add(text)
    more = settings.get("extra_special_tokens")
    given = [_content(token) for token in more] if isinstance(more, list) else []
    extra = [text for text in given if text is not None]
    for text in (*special_tokens.values(), *extra):
        if text not in known and (text in extra or backend.token_to_id(text) is not None):
            backend.add_special_tokens(
                [tokenizers.AddedToken(text, special=True, normalized=False)]
            )
            known.add(text)


def _as_id(written: object) -> int:
    try:
        return int(str(written))
    except ValueError as error:
        raise ModelError(
            f"tokenizer_config.json: 'added_tokens_decoder' has the key {written!r}, which is no "
            "token id. Fetch it again."
        ) from error


def _chat_templates(folder: Path, settings: _Config) -> dict[str, str]:
    """Find chat templates by name; files of their own go before what the settings say."""
    files = {path.stem: path for path in folder.glob("additional_chat_templates/*.jinja")}
    if (default := folder / "chat_template.jinja").is_file():
        files["default"] = default
    if files:
        return {name: _text(path) for name, path in files.items()}
    match settings.get("chat_template"):
        case str(template):
            return {"default": template}
        case [*named]:
            found: dict[str, str] = {}
            for entry in named:
                match entry:
                    case {"name": str(name), "template": str(template)}:
                        found[name] = template
            return found
        case {**by_name}:
            texts = by_name.items()
            return {str(name): text for name, text in texts if isinstance(text, str)}
    match _settings(folder / "chat_template.json").get("chat_template"):  # of models that see
        case str(template):
            return {"default": template}
    return {}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path} is no text in UTF-8 ({error}). Fetch it again.") from error
