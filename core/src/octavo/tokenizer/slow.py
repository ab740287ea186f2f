"""Vocabularies without a rule, of before there was tokenizer.json: the settings name a class.

    vocab.json and merges.txt     byte-level BPE (GPT-2, OPT, Qwen 2)
    vocab.txt                     WordPiece (BERT)

The files do not say how text is cut; the class that the settings name does, by a table. A class
without a row is refused: another rule would give other tokens.

Knows nothing of added tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from octavo.errors import ModelError
from octavo.tokenizer.special import surround
from octavo.tokenizer.words import GPT2, QWEN, WordRule, cut_by

# Source: transformers, the tokenizers of these names; theirs of OPT is GPT-2's.
BYTE_LEVEL: Mapping[str, WordRule] = MappingProxyType(
    {"GPT2Tokenizer": GPT2, "CodeGenTokenizer": GPT2, "Qwen2Tokenizer": QWEN}
)
WORD_PIECE = ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer")
CLASSES = (*BYTE_LEVEL, *WORD_PIECE)


def file_of(folder: Path, kind: object) -> Path | None:
    """Find the vocabulary that a class reads, None for a class without a row or without files."""
    name = kind.removesuffix("Fast") if isinstance(kind, str) else ""
    if name in BYTE_LEVEL and (folder / "merges.txt").is_file():
        path = folder / "vocab.json"
    elif name in WORD_PIECE:
        path = folder / "vocab.txt"
    else:
        return None
    return path if path.is_file() else None


def backend_of(
    path: Path, settings: Mapping[str, object]
) -> tuple[tokenizers.Tokenizer, dict[str, str]]:
    """Build the tokenizer of a vocabulary, and give the special tokens that its class has, by role.

    Raises: ModelError, for files that do not fit.
    """
    try:
        if path.name == "vocab.txt":
            return _word_piece(path, settings)
        return _byte_level(path, settings), {}
    except ModelError:
        raise
    except Exception as error:  # the library raises nothing more precise
        raise ModelError(f"{path} is no vocabulary ({error}). Fetch it again.") from error


def _byte_level(path: Path, settings: Mapping[str, object]) -> tokenizers.Tokenizer:
    lines = (path.parent / "merges.txt").read_text(encoding="utf-8").split("\n")
    merges = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    vocabulary = json.loads(path.read_text(encoding="utf-8"))
    pairs = [(left, right) for left, right in merges]
    backend = tokenizers.Tokenizer(models.BPE(vocabulary, pairs))
    rule = BYTE_LEVEL[str(settings["tokenizer_class"]).removesuffix("Fast")]
    cut_by(rule, backend)
    if settings.get("add_prefix_space"):
        if not rule.then_gpt2:
            raise ModelError(f"{path}: no space can stand before a text that is cut by this class.")
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return backend


def _word_piece(
    path: Path, settings: Mapping[str, object]
) -> tuple[tokenizers.Tokenizer, dict[str, str]]:
    tokens = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    ids = {token.rstrip("\r"): place for place, token in enumerate(tokens)}
    roles = {"unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "pad": "[PAD]", "mask": "[MASK]"}
    special = {f"{role}_token": text for role, text in roles.items()}
    missing = [text for text in special.values() if text not in ids]
    if missing:
        raise ModelError(f"{path} lacks {', '.join(missing)}. Fetch it again.")
    lowers = bool(settings.get("do_lower_case", True))
    accents = settings.get("strip_accents")
    backend = tokenizers.Tokenizer(models.WordPiece(ids, unk_token=special["unk_token"]))
    backend.normalizer = normalizers.BertNormalizer(
        lowercase=lowers,
        strip_accents=accents if isinstance(accents, bool) else lowers,
        handle_chinese_chars=bool(settings.get("tokenize_chinese_chars", True)),
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    surround(backend, first=special["cls_token"], last=special["sep_token"])
    return backend, special
