"""A row of the table: a config from which transformers writes a checkpoint of random weights.

Sizes that no two parts of a model have alike show what was taken for something else. Knows no
family's rows (`families`) and no platform.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PreTrainedModel,
)

from octavo.testing.loaded import byte_backend

from .repacked import Repack

VOCAB = 97
SIZES: Mapping[str, object] = {
    "vocab_size": VOCAB,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
WINDOW: Mapping[str, object] = {"sliding_window": 7}
FOUR: Mapping[str, object] = {"num_hidden_layers": 4}
HEADS: Mapping[str, object] = {"head_dim": 16}
YARN = {
    "rope_type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": 64,
    "rope_theta": 1e4,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
    "rope_theta": 5e5,
}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "short_factor": [1.0, 1.1, 1.3, 1.6],
    "long_factor": [1.2, 1.9, 2.7, 4.1],
}


def rope(kind: str, **more: object) -> Mapping[str, object]:
    """Stretch rotary positions."""
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 1e4, **more}}


@dataclass(frozen=True, slots=True)
class Row:
    """A tiny model: its family, what is special about it, and its config's own words.

    `without` are keys of `SIZES` that the family does not have. Where its authors publish it
    otherwise than transformers writes it, `said` is what their config says, `repack` their form.
    Files are no larger than `largest_file`, so that there may be several.
    """

    family: str
    label: str
    options: Mapping[str, object] = field(default_factory=dict)
    kind: str = ""
    without: frozenset[str] = frozenset()
    said: Mapping[str, object] = field(default_factory=dict)
    repack: Repack | None = None
    largest_file: str = "1GB"

    @property
    def name(self) -> str:
        """Give a name that no other row has."""
        return f"{self.family}: {self.label}"

    def write(self, folder: Path) -> PreTrainedModel:
        """Write its checkpoint, and give the module that it is of."""
        torch.manual_seed(0)
        sizes = {key: value for key, value in SIZES.items() if key not in self.without}
        config = CONFIG_MAPPING[self.kind or self.family].from_dict({**sizes, **self.options})
        kind = (
            AutoModelForImageTextToText if "vision_config" in self.options else AutoModelForCausalLM
        )
        module: PreTrainedModel = kind.from_config(config)  # type: ignore[no-untyped-call]
        module.train(False)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if any(each in name for each in ("norm", "ln_", "bias", "sinks")):
                    parameter.add_(torch.randn_like(parameter) * 0.2)
            for name, buffer in module.named_buffers():
                if "correction_bias" in name:
                    buffer.add_(torch.randn_like(buffer) * 0.2)
        module.save_pretrained(folder, max_shard_size=self.largest_file)
        if self.repack is not None:
            weights = folder / "model.safetensors"
            stored = self.repack(module, load_file(weights))
            save_file({name: each.contiguous() for name, each in stored.items()}, weights)
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **self.said}))
        (folder / "tokenizer.json").write_text(byte_backend().to_str())
        return module


def seeing(kind: str, text: Mapping[str, object]) -> Mapping[str, object]:
    """Give the config of a model whose text part is of a kind, beside one that sees."""
    vision = {
        "model_type": "siglip_vision_model" if kind == "gemma3_text" else "pixtral",
        **{"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1},
        **{"num_attention_heads": 2, "image_size": 16, "patch_size": 4},
    }
    own = {**SIZES, **text, "model_type": kind}
    return {
        **{"text_config": own, "vision_config": vision, "mm_tokens_per_image": 4},
        "tie_word_embeddings": kind == "gemma3_text",
    }
