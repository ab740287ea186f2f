"""The table of families: for each, tiny models that differ in what its configs can say.

A row is a config for transformers, which writes a checkpoint of random weights for it. Rows named
`plain` are what every run of the tests sees; the others are for the whole table. Knows no platform.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel

from octavo.testing.loaded import byte_backend

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

    `without` are keys of `SIZES` that the family does not have. `architecture` is what its authors
    call it, where transformers writes another name.
    """

    family: str
    label: str
    options: Mapping[str, object] = field(default_factory=dict)
    kind: str = ""
    without: frozenset[str] = frozenset()
    architecture: str = ""

    @property
    def name(self) -> str:
        """Give a name that no other row has."""
        return f"{self.family}: {self.label}"

    def write(self, folder: Path) -> PreTrainedModel:
        """Write its checkpoint, and give the module that it is of."""
        torch.manual_seed(0)
        sizes = {key: value for key, value in SIZES.items() if key not in self.without}
        config = CONFIG_MAPPING[self.kind or self.family].from_dict({**sizes, **self.options})
        module: PreTrainedModel = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
        module.train(False)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if any(each in name for each in ("norm", "ln_", "bias", "sinks")):
                    parameter.add_(torch.randn_like(parameter) * 0.2)
            for name, buffer in module.named_buffers():
                if "correction_bias" in name:
                    buffer.add_(torch.randn_like(buffer) * 0.2)
        module.save_pretrained(folder)
        if self.architecture:
            path = folder / "config.json"
            written = json.loads(path.read_text()) | {"architectures": [self.architecture]}
            path.write_text(json.dumps(written))
        (folder / "tokenizer.json").write_text(byte_backend().to_str())
        return module


SHARED = frozenset({"num_key_value_heads"})
BOTH = SHARED | {"intermediate_size"}
GPT2: Mapping[str, object] = {"n_embd": 48, "n_layer": 2, "n_head": 6, "n_positions": 256}
OPT: Mapping[str, object] = {"ffn_dim": 80, "word_embed_proj_dim": 48, "init_std": 0.2}
FALCON_40B: Mapping[str, object] = {"new_decoder_architecture": True, "num_kv_heads": 2}
GRANITE: Mapping[str, object] = {
    "embedding_multiplier": 3.0,
    "attention_multiplier": 0.2,
    "residual_multiplier": 0.6,
    "logits_scaling": 2.0,
}
GEMMA2: Mapping[str, object] = {
    **HEADS,
    **WINDOW,
    "query_pre_attn_scalar": 20,
    "attn_logit_softcapping": 3.0,
    "final_logit_softcapping": 4.0,
}
GEMMA3: Mapping[str, object] = {**HEADS, **WINDOW, "query_pre_attn_scalar": 20}
BY_KIND = {
    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
}
OLMO3 = {
    "full_attention": dict(YARN),
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
}
INTERNLM3 = "InternLM3ForCausalLM"
BIASES: Mapping[str, object] = {"attention_bias": True, "mlp_bias": True}

EXPERTS: Mapping[str, object] = {"num_experts": 8, "num_experts_per_tok": 3}
LOCAL: Mapping[str, object] = {"num_local_experts": 8, "num_experts_per_tok": 2}
NARROW: Mapping[str, object] = {**EXPERTS, "moe_intermediate_size": 24}
SHARED_EXPERT: Mapping[str, object] = {**NARROW, "shared_expert_intermediate_size": 40}
RENORMALISED: Mapping[str, object] = {"norm_topk_prob": True}
LATENTS: Mapping[str, object] = {
    "num_key_value_heads": 6,
    "num_hidden_layers": 3,
    "q_lora_rank": 20,
    "kv_lora_rank": 12,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 6,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "n_shared_experts": 2,
    "moe_intermediate_size": 24,
    "first_k_dense_replace": 1,
}
GROUPS: Mapping[str, object] = {"n_group": 4, "topk_group": 2}
MSCALE = {**YARN, "mscale": 0.7, "mscale_all_dim": 0.9}
GPT_OSS: Mapping[str, object] = {**LOCAL, **WINDOW, **HEADS}
DELTA: Mapping[str, object] = {
    "initializer_range": 0.1,
    **SHARED_EXPERT,
    **RENORMALISED,
    **HEADS,
    **FOUR,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 12,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5},
}
MAMBA2: Mapping[str, object] = {
    "mamba_n_heads": 12,
    "mamba_d_head": 8,
    "mamba_n_groups": 2,
    "mamba_d_state": 6,
}
FALCON_H1: Mapping[str, object] = {
    **MAMBA2,
    "mamba_d_ssm": 96,
    "mamba_rms_norm": True,
    "embedding_multiplier": 2.0,
    "lm_head_multiplier": 0.5,
    "key_multiplier": 0.7,
    "attention_in_multiplier": 0.9,
    "attention_out_multiplier": 0.8,
    "ssm_in_multiplier": 1.2,
    "ssm_out_multiplier": 0.6,
    "ssm_multipliers": [0.9, 1.1, 1.3, 0.8, 0.7],
    "mlp_multipliers": [0.8, 1.4],
}
SPARSE_ROWS: tuple[Row, ...] = (
    Row("mixtral", "plain", LOCAL),
    Row("mixtral", "window, heads of their own width", {**LOCAL, **WINDOW, **HEADS}),
    Row("qwen2_moe", "plain", SHARED_EXPERT),
    Row("qwen2_moe", "renormalised", {**SHARED_EXPERT, **RENORMALISED}),
    Row("qwen3_moe", "plain", {**NARROW, **RENORMALISED, **HEADS}),
    Row(
        "qwen3_moe",
        "some layers dense",
        {**NARROW, **HEADS, **FOUR, "decoder_sparse_step": 2, "mlp_only_layers": [3]},
    ),
    Row("gpt_oss", "plain", {**GPT_OSS, "rope_parameters": {**YARN, "truncate": False}}),
    Row("gpt_oss", "narrow limits", {**GPT_OSS, "swiglu_limit": 0.5, "attention_bias": False}),
    Row("qwen3_next", "plain", DELTA),
    Row("bamba", "plain", {**MAMBA2, **FOUR, "attn_layer_indices": [1, 3]}),
    Row("falcon_h1", "plain", FALCON_H1),
    Row("falcon_h1", "norm behind the gate", {**FALCON_H1, "mamba_norm_before_gate": False}),
    Row("falcon_h1", "no norm", {**MAMBA2, "mamba_d_ssm": 96}),
    Row("olmoe", "plain", EXPERTS),
    Row("olmoe", "renormalised", {**EXPERTS, **RENORMALISED}),
    Row("granitemoe", "plain", {**LOCAL, **GRANITE}),
    Row(
        "deepseek_v2",
        "plain",
        {**LATENTS, **GROUPS, "topk_method": "group_limited_greedy", "routed_scaling_factor": 4.0},
    ),
    Row("deepseek_v2", "no groups", {**LATENTS, "q_lora_rank": None}),
    Row("deepseek_v3", "plain", {**LATENTS, **GROUPS, "rope_parameters": MSCALE}),
    Row(
        "deepseek_v3",
        "not renormalised, half-split",
        {
            **LATENTS,
            "n_group": 1,
            "topk_group": 1,
            "norm_topk_prob": False,
            "rope_interleave": False,
            "q_lora_rank": None,
        },
    ),
)

ROWS: tuple[Row, ...] = (
    Row("llama", "plain"),
    Row("llama", "biases, tied", {**BIASES, "tie_word_embeddings": True}),
    Row("llama", "llama3 positions", {"rope_parameters": LLAMA3}),
    Row("llama", "linear positions", rope("linear", factor=2.0)),
    Row("llama", "dynamic positions", rope("dynamic", factor=2.0)),
    Row("llama", "yarn positions", {"rope_parameters": YARN}),
    Row("llama", "one KV head, wide heads", {**HEADS, "num_key_value_heads": 1}),
    Row("mistral", "plain", WINDOW),
    Row("mistral", "without a window", {"sliding_window": None}),
    Row(
        "ministral",
        "plain",
        {**WINDOW, **HEADS, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    Row("qwen2", "plain", {"tie_word_embeddings": True}),
    Row("qwen2", "late windows", {**WINDOW, "use_sliding_window": True, "max_window_layers": 1}),
    Row("qwen3", "plain", HEADS),
    Row("qwen3", "yarn positions", {**HEADS, "rope_parameters": YARN}),
    Row("gemma", "plain", HEADS),
    Row("gemma2", "plain", GEMMA2),
    Row("gemma3", "plain", {**GEMMA3, **FOUR, "rope_parameters": BY_KIND}, "gemma3_text"),
    Row("phi3", "plain"),
    Row("phi3", "window", WINDOW),
    Row(
        "phi3",
        "longrope, long",
        {"rope_parameters": LONG, "original_max_position_embeddings": 32},
    ),
    Row(
        "phi3",
        "longrope, short, part of a head",
        {
            **{"hidden_size": 96, "original_max_position_embeddings": 256},
            "rope_parameters": {**LONG, "partial_rotary_factor": 0.5},
        },
    ),
    Row("gpt2", "plain", GPT2, without=BOTH),
    Row("gpt_neox", "plain", without=SHARED),
    Row("gpt_neox", "one after the other", {"use_parallel_residual": False}, without=SHARED),
    Row("opt", "plain", OPT, without=BOTH),
    Row("opt", "without biases", {**OPT, "enable_bias": False}, without=BOTH),
    Row("falcon", "plain", {"new_decoder_architecture": False}, without=BOTH),
    Row("falcon", "two norms, groups", FALCON_40B, without=BOTH),
    Row("falcon", "one norm, groups", {**FALCON_40B, "num_ln_in_parallel_attn": 1}, without=BOTH),
    Row("falcon", "biases, heads of their own", {"multi_query": False, "bias": True}, without=BOTH),
    Row("falcon", "one after the other", {"parallel_attn": False}, without=BOTH),
    Row("stablelm", "plain", {"use_qkv_bias": True, "head_dim": 8}),
    Row(
        "stablelm",
        "norms of heads, parallel",
        {"qk_layernorm": True, "use_parallel_residual": True},
    ),
    Row("starcoder2", "plain"),
    Row("starcoder2", "window, no biases", {**WINDOW, "use_bias": False}),
    Row("granite", "plain", GRANITE),
    Row("olmo", "plain"),
    Row("olmo2", "plain"),
    Row("olmo3", "plain", {**WINDOW, **FOUR, "rope_parameters": OLMO3}),
    Row("cohere", "plain"),
    Row("cohere", "norms of heads", {"use_qk_norm": True, "logit_scale": 0.5}),
    Row("cohere2", "plain", {**WINDOW, **FOUR}),
    Row("glm", "plain", HEADS),
    Row("glm4", "plain", HEADS),
    Row("internlm3", "plain", HEADS, architecture=INTERNLM3),
    Row("internlm3", "biases", {**HEADS, **BIASES}, architecture=INTERNLM3),
    Row("exaone4", "plain", {**WINDOW, **FOUR}),
    Row(
        "exaone4",
        "without windows",
        {"sliding_window": None, "layer_types": ["full_attention"] * 2},
    ),
    Row("smollm3", "plain", FOUR),
    Row("smollm3", "window", {**WINDOW, **FOUR, "use_sliding_window": True}),
    Row("nemotron", "plain"),
    Row("nemotron", "biases", BIASES),
    *SPARSE_ROWS,
)
