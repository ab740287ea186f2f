"""A loaded model for the faces' tests: the model without weights, and a tokenizer of bytes.

Every byte is a token, so any text can be a prompt and any output is some text, often broken
UTF-8. Knows nothing of the faces that are tested with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from octavo.asking import SamplingParams
from octavo.chat.template import ChatTemplate
from octavo.engine import Engine
from octavo.scheduler import Limits
from octavo.testing.null import null_engine
from octavo.tokenizer import Tokenizer

SPECIAL_TOKENS = ("<s>", "</s>", "<|im_start|>", "<|im_end|>")
VOCAB_SIZE = 256 + len(SPECIAL_TOKENS)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_backend() -> tokenizers.Tokenizer:
    """Make what a tokenizer.json holds: one token for each byte, and four special ones."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = tokenizers.Tokenizer(
        models.BPE(vocab={letter: index for index, letter in enumerate(alphabet)}, merges=[])
    )
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(list(SPECIAL_TOKENS))
    return backend


def byte_tokenizer() -> Tokenizer:
    """Make a tokenizer with one token for each byte."""
    return Tokenizer(
        byte_backend(),
        special_tokens={"bos_token": "<s>", "eos_token": "</s>"},
        chat_templates={"default": CHAT_TEMPLATE},
    )


def null_limits(*, max_context_tokens: int = 512, max_requests: int = 8) -> Limits:
    """Make limits under which every request can have its whole context."""
    block_size = 16
    blocks = max_requests * -(-max_context_tokens // block_size)
    return Limits(
        max_context_tokens=max_context_tokens,
        num_blocks=blocks + 1,
        block_size=block_size,
        max_requests=max_requests,
        max_step_tokens=max(64, max_requests),
        vocab_size=VOCAB_SIZE,
    )


@dataclass(frozen=True, slots=True)
class NullLoaded:
    """The model without weights, loaded."""

    engine: Engine = field(default_factory=lambda: null_engine(null_limits()))
    tokenizer: Tokenizer = field(default_factory=byte_tokenizer)
    chat: ChatTemplate | None = field(default_factory=lambda: ChatTemplate(CHAT_TEMPLATE, {}))
    model_name: str = "null"
    max_context_tokens: int = 512
    eos_ids: frozenset[int] = frozenset({257})
    default_sampling: SamplingParams = field(default_factory=SamplingParams)
    plan: str = "nothing runs anywhere"
    source: str = ""
