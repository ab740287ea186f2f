"""The tokenizer of a Hugging Face folder: tokenizer.json and what tokenizer_config.json adds.

Knows nothing of weights; the model's config is asked only for the ids that end an output.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import tokenizers

from octavo.errors import ModelError
from octavo.tokenizer.special import ROLES, eos_ids_of
from octavo.tokenizer.text import Tokenizer

_Config = Mapping[str, object]


def load_folder(folder: Path, config: _Config, generation: _Config) -> Tokenizer:
    """Load the tokenizer of a folder.

    Raises: ModelError, for a missing or malformed file.
    Source: transformers 5, `TokenizersBackend`: a token that tokenizer_config.json names is
        special; what surrounds a text is the post-processor's alone, whatever `add_bos_token`
        says there.
    """
    backend = _backend(folder)
    settings = _settings(folder / "tokenizer_config.json")
    special_tokens = {role: text for role in ROLES if (text := _content(settings.get(role)))}
    _add_tokens(backend, settings, special_tokens)
    return Tokenizer(
        backend,
        special_tokens=special_tokens,
        eos_ids=eos_ids_of(config, generation),
        chat_template=_chat_template(folder, settings),
    )


def _backend(folder: Path) -> tokenizers.Tokenizer:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ModelError(
            f"{folder} has no tokenizer.json. If it has another tokenizer file, convert it: load "
            "it with transformers' AutoTokenizer and call save_pretrained(folder)."
        )
    try:
        backend = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more precise
        raise ModelError(f"{path} is no tokenizer ({error}). Fetch it again.") from error
    backend.no_truncation()
    backend.no_padding()
    return backend


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
    entries = (
        sorted(listed.items(), key=lambda item: int(item[0])) if isinstance(listed, dict) else []
    )
    for _, entry in entries:
        text = _content(entry)
        if text is not None and text not in known:
            flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
            options = {flag: bool(entry[flag]) for flag in flags if flag in entry}
            backend.add_tokens([tokenizers.AddedToken(text, **options)])
            known.add(text)
    for text in special_tokens.values():
        if text not in known and backend.token_to_id(text) is not None:
            backend.add_special_tokens(
                [tokenizers.AddedToken(text, special=True, normalized=False)]
            )


def _chat_template(folder: Path, settings: _Config) -> str | None:
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    match settings.get("chat_template"):
        case str(template):
            return template
        case [*named]:
            for entry in named:
                match entry:
                    case {"name": "default", "template": str(template)}:
                        return template
    return None
