"""The table of families: for each, tiny models that differ in what its configs can say.

Rows named `plain` are what every run of the tests sees; the others are for the whole table. Knows
no platform.
"""

from __future__ import annotations

from collections.abc import Mapping

from .repacked import as_internlm2, as_mxfp4, with_biases
from .row import FOUR, HEADS, LLAMA3, LONG, WINDOW, YARN, Row, rope, seeing

SHARPER = {
    **{**YARN, "factor": 16.0, "original_max_position_embeddings": 16},
    "llama_4_scaling_beta": 0.4,
    **{"mscale": 1.0, "mscale_all_dim": 1.0},
}
SHARP: Mapping[str, object] = {**HEADS, "rope_parameters": SHARPER}
SHARED = frozenset({"num_key_value_heads"})
BOTH = SHARED | {"intermediate_size"}
GPT2: Mapping[str, object] = {"n_embd": 48, "n_layer": 2, "n_head": 6, "n_positions": 256}
OPT: Mapping[str, object] = {"ffn_dim": 80, "word_embed_proj_dim": 48, "init_std": 0.2}
FALCON_RW: Mapping[str, object] = {
    **{"alibi": True, "parallel_attn": False},
    **{"multi_query": False, "bias": True},
}
MPT: Mapping[str, object] = {"max_seq_len": 256}
CLIPPED: Mapping[str, object] = {"attn_config": {"clip_qkv": 0.8, "softmax_scale": 0.5}}
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
INTERNLM2: Mapping[str, object] = {"architectures": ["InternLM2ForCausalLM"]}
INTERNLM3: Mapping[str, object] = {"architectures": ["InternLM3ForCausalLM"]}
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
MXFP4: Mapping[str, object] = {"quantization_config": {"quant_method": "mxfp4"}}
LONG_MOE: Mapping[str, object] = {**LONG, "short_mscale": 1.2, "long_mscale": 1.3}
BEYOND: Mapping[str, object] = {**LONG_MOE, "original_max_position_embeddings": 32}
# The reference takes the list for short contexts whatever their length, so it gets the other there.
ONLY_LONG: Mapping[str, object] = {**BEYOND, "short_factor": LONG["long_factor"]}
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
NO_HEADS = frozenset({"num_attention_heads", "num_key_value_heads", "intermediate_size"})
NO_ENDS = NO_HEADS | {"max_position_embeddings"}
ALONE: Mapping[str, object] = {"state_size": 6, "time_step_rank": 5}
ALONE2: Mapping[str, object] = {"num_heads": 12, "head_dim": 8, "n_groups": 2, "state_size": 6}
JAMBA: Mapping[str, object] = {
    **FOUR,
    "attn_layer_period": 2,
    "attn_layer_offset": 1,
    "expert_layer_period": 2,
    "expert_layer_offset": 0,
    "num_experts": 4,
    "mamba_d_state": 6,
    "mamba_dt_rank": 5,
}
MEMORY_ROWS: tuple[Row, ...] = (
    Row("mamba", "plain", ALONE, without=NO_ENDS),
    Row(
        "mamba",
        "biases, untied",
        {**ALONE, "use_bias": True, "use_conv_bias": False, "tie_word_embeddings": False},
        without=NO_ENDS,
    ),
    Row("mamba", "rows not widened", {**ALONE, "residual_in_fp32": False}, without=NO_ENDS),
    Row("falcon_mamba", "plain", ALONE, without=NO_ENDS),
    Row("mamba2", "plain", ALONE2, without=NO_ENDS),
    Row(
        "mamba2",
        "limits, tied",
        {**ALONE2, "time_step_limit": [0.4, 0.8], "tie_word_embeddings": True},
        without=NO_ENDS,
    ),
    Row("jamba", "plain", JAMBA),
    Row("jamba", "no experts", {**JAMBA, "num_experts": 1, "num_experts_per_tok": 1}),
)
SPARSE_ROWS: tuple[Row, ...] = (
    Row("mixtral", "plain", LOCAL),
    Row("mixtral", "window, heads of their own width", {**LOCAL, **WINDOW, **HEADS}),
    Row("phimoe", "plain", {**LOCAL, "router_jitter_noise": 0.2, "sliding_window": None}),
    Row(
        "phimoe",
        "longrope, short, biases",
        {
            **{**LOCAL, **WINDOW, "attention_bias": True, "lm_head_bias": True},
            "rope_parameters": {**LONG_MOE, "original_max_position_embeddings": 256},
        },
    ),
    Row(
        "phimoe",
        "longrope, long",
        {**LOCAL, "sliding_window": None, "rope_parameters": {**ONLY_LONG, "short_mscale": 1.3}},
        said={"rope_parameters": BEYOND},
    ),
    Row("qwen2_moe", "plain", SHARED_EXPERT),
    Row("qwen2_moe", "renormalised", {**SHARED_EXPERT, **RENORMALISED}),
    Row(
        "qwen2_moe",
        "some layers dense",
        {**SHARED_EXPERT, **FOUR, "decoder_sparse_step": 2, "mlp_only_layers": [3]},
    ),
    Row("qwen3_moe", "plain", {**NARROW, **RENORMALISED, **HEADS}),
    Row(
        "qwen3_moe",
        "some layers dense",
        {**NARROW, **HEADS, **FOUR, "decoder_sparse_step": 2, "mlp_only_layers": [3]},
    ),
    Row("gpt_oss", "plain", {**GPT_OSS, "rope_parameters": {**YARN, "truncate": False}}),
    Row(
        "gpt_oss",
        "experts in blocks of four bits",
        {**GPT_OSS, "hidden_size": 64, "intermediate_size": 96},
        said=MXFP4,
        repack=as_mxfp4,
    ),
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
    Row("llama", "a KV head for each, shards", {"num_key_value_heads": 6}, largest_file="20KB"),
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
    Row("ministral3", "plain", SHARP),
    Row("qwen2", "plain", {"tie_word_embeddings": True}),
    Row("qwen2", "late windows", {**WINDOW, "use_sliding_window": True, "max_window_layers": 1}),
    Row("qwen3", "plain", HEADS),
    Row("qwen3", "yarn positions", {**HEADS, "rope_parameters": YARN}),
    Row("gemma", "plain", HEADS),
    Row("gemma2", "plain", GEMMA2),
    Row("gemma3", "plain", {**GEMMA3, **FOUR, "rope_parameters": BY_KIND}, "gemma3_text"),
    Row("gemma3", "text of a model that sees", seeing("gemma3_text", GEMMA3), "gemma3"),
    Row("mistral", "text of a model that sees", seeing("mistral", WINDOW), "mistral3"),
    Row("ministral3", "text of a model that sees", seeing("ministral3", SHARP), "mistral3"),
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
    Row("falcon", "alibi, biases, one after the other", FALCON_RW, without=BOTH),
    Row("falcon", "alibi, one KV head", {"alibi": True}, without=BOTH),
    Row("bloom", "plain", without=BOTH),
    Row("bloom", "a power of two of heads", {"num_attention_heads": 8}, without=BOTH),
    Row("mpt", "plain", MPT, without=BOTH),
    Row("mpt", "clipped, a scale of its own", {**MPT, **CLIPPED}, without=BOTH),
    Row("mpt", "biases", MPT, without=BOTH, said={"no_bias": False}, repack=with_biases),
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
    Row("olmo", "clipped", {"clip_qkv": 0.8}),
    Row("olmo2", "plain"),
    Row("olmo3", "plain", {**WINDOW, **FOUR, "rope_parameters": OLMO3}),
    Row("cohere", "plain"),
    Row("cohere", "norms of heads", {"use_qk_norm": True, "logit_scale": 0.5}),
    Row("cohere2", "plain", {**WINDOW, **FOUR}),
    Row("glm", "plain", HEADS),
    Row("glm4", "plain", HEADS),
    Row("internlm2", "plain", kind="llama", said=INTERNLM2, repack=as_internlm2),
    Row(
        "internlm2",
        "biases, tied",
        {"attention_bias": True, "tie_word_embeddings": True},
        "llama",
        said={**INTERNLM2, "bias": True},
        repack=as_internlm2,
    ),
    Row("internlm3", "plain", HEADS, said=INTERNLM3),
    Row("internlm3", "biases", {**HEADS, **BIASES}, said=INTERNLM3),
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
    Row(
        "nemotron",
        "heads of their own width, all of which turn",
        {**HEADS, "rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 1.0}},
    ),
    *SPARSE_ROWS,
    *MEMORY_ROWS,
)
