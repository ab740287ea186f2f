"""The table's encoders: for each family, tiny models that pool and tiny models that score.

A row is a config for transformers, which writes a checkpoint of random weights for it. Knows no
platform.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (
    CONFIG_MAPPING,
    AutoModel,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)

from octavo.testing.loaded import byte_backend

from .row import SIZES

CLASSES = 12


@dataclass(frozen=True, slots=True)
class EncoderRow:
    """A tiny encoder: its family, what is special about it, and its config's own words.

    With `scores` it tells classes apart, else it is pooled: as `modules` say, in the words of
    sentence-transformers, or as the family is; `dense` are layers behind that, as configs of it.
    """

    family: str
    label: str
    options: Mapping[str, object] = field(default_factory=dict)
    kind: str = ""
    scores: bool = False
    modules: Mapping[str, object] = field(default_factory=dict)
    dense: tuple[Mapping[str, object], ...] = ()

    @property
    def name(self) -> str:
        """Give a name that no other row has."""
        return f"{self.family}: {self.label}"

    def write(self, folder: Path) -> PreTrainedModel:
        """Write its checkpoint, and give the module that it is of."""
        torch.manual_seed(0)
        sizes = {key: value for key, value in SIZES.items() if key != "num_key_value_heads"}
        config = CONFIG_MAPPING[self.kind or self.family].from_dict(
            {**sizes, "num_labels": CLASSES, **self.options}
        )
        made = AutoModelForSequenceClassification if self.scores else AutoModel
        module: PreTrainedModel = made.from_config(config)  # type: ignore[no-untyped-call]
        module.train(False)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if "norm" in name.lower() or "bias" in name:
                    parameter.add_(torch.randn_like(parameter) * 0.2)
        module.save_pretrained(folder)
        (folder / "tokenizer.json").write_text(byte_backend().to_str())
        if self.modules:
            parts = [("", "Transformer"), ("1_Pooling", "Pooling")]
            for number, said in enumerate(self.dense, start=2):
                parts.append((f"{number}_Dense", "Dense"))
                _write_dense(folder / parts[-1][0], said)
            listed = [
                {"path": path, "type": f"sentence_transformers.models.{kind}"}
                for path, kind in parts
            ]
            (folder / "modules.json").write_text(json.dumps(listed))
            (folder / "1_Pooling").mkdir(exist_ok=True)
            (folder / "1_Pooling" / "config.json").write_text(json.dumps(dict(self.modules)))
        return module


def _write_dense(folder: Path, said: Mapping[str, object]) -> None:
    """Write a layer as sentence-transformers does, with random weights."""
    folder.mkdir(exist_ok=True)
    n_in, n_out = (int(str(said[key])) for key in ("in_features", "out_features"))
    tensors = {"linear.weight": torch.randn(n_out, n_in) * n_in**-0.5}
    if said["bias"]:
        tensors["linear.bias"] = torch.randn(n_out) * 0.2
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(dict(said)))


NEAR: Mapping[str, object] = {"num_hidden_layers": 4, "local_attention": 12}
GROUPED: Mapping[str, object] = {"num_key_value_heads": 2, "head_dim": 16}
BY_MEAN: Mapping[str, object] = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
DENSE: tuple[Mapping[str, object], ...] = (
    {
        **{"in_features": 48, "out_features": 64, "bias": True},
        "activation_function": "torch.nn.modules.activation.Tanh",
    },
    {
        **{"in_features": 64, "out_features": 20, "bias": False},
        "activation_function": "torch.nn.modules.linear.Identity",
    },
)
BY_LAST: Mapping[str, object] = {"pooling_mode_lasttoken": True}

ENCODER_ROWS: tuple[EncoderRow, ...] = (
    EncoderRow("bert", "pooled"),
    EncoderRow("bert", "scored", scores=True),
    EncoderRow("bert", "pooled by the mean, relu", {"hidden_act": "relu"}, modules=BY_MEAN),
    EncoderRow("bert", "pooled by the mean, projected", modules=BY_MEAN, dense=DENSE),
    EncoderRow("roberta", "pooled"),
    EncoderRow("roberta", "scored", {"pad_token_id": 1, "bos_token_id": 0}, scores=True),
    EncoderRow("roberta", "scored, one kind of segment", {"type_vocab_size": 1}, scores=True),
    EncoderRow("modernbert", "pooled", NEAR),
    EncoderRow("modernbert", "scored", NEAR, scores=True),
    EncoderRow(
        "modernbert",
        "scored by the mean, biases",
        {
            **{**NEAR, "attention_bias": True, "mlp_bias": True, "norm_bias": True},
            **{"classifier_pooling": "mean", "classifier_bias": True},
        },
        scores=True,
    ),
    EncoderRow("nomic", "pooled", kind="nomic_bert"),
    EncoderRow("nomic", "scored", kind="nomic_bert", scores=True),
    EncoderRow("qwen3", "pooled by the last token", GROUPED, modules=BY_LAST),
)
