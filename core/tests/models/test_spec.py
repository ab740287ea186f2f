"""Specs: what a config says is kept, and what is not built is refused by name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from octavo.errors import ModelError
from octavo.models.llama import llama_spec
from octavo.models.registry import family
from octavo.models.rope import rope_spec

CONFIG: Mapping[str, object] = {
    "vocab_size": 100,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "max_position_embeddings": 128,
}


def test_a_head_is_as_wide_as_the_model_over_its_heads_unless_it_says_so() -> None:
    assert llama_spec(CONFIG).head_width == 8
    assert llama_spec({**CONFIG, "head_dim": 16}).head_width == 16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": "64"}, "'hidden_size' has to be a positive integer, not '64'"),
        (
            {"num_hidden_layers": 10**9},
            "'num_hidden_layers' is 1000000000; at most 1000 are believed",
        ),
        ({"vocab_size": None}, "'vocab_size' has to be a positive integer"),
        ({"num_key_value_heads": 3}, "8 heads cannot share 3 KV heads"),
        ({"hidden_act": "mish"}, "activation 'mish' is not built"),
        ({"rope_scaling": {"rope_type": "ntk", "factor": 2.0}}, "rope_type 'ntk' is not built"),
        ({"rms_norm_eps": None}, "'rms_norm_eps' has to be a number"),
        ({"rms_norm_eps": float("nan")}, "'rms_norm_eps' has to be a number, not nan"),
        ({"rms_norm_eps": -1.0}, "'rms_norm_eps' has to be above zero, not -1.0"),
        ({"rope_theta": 0}, "'rope_theta' has to be above zero, not 0.0"),
        ({"rope_scaling": "linear"}, "'rope_scaling' has to be an object, not 'linear'"),
        ({"rope_scaling": {"type": "linear", "factor": 0}}, "'factor' has to be above zero"),
        ({"head_dim": 7}, "7 elements of a head turn, which make no pairs"),
        (
            {"rope_scaling": {"type": "longrope", "short_factor": ["1"] * 4}},
            "short_factor has to be a list of 4 numbers above zero",
        ),
    ],
)
def test_a_config_that_cannot_be_honoured_is_refused(
    change: Mapping[str, object], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        llama_spec({**CONFIG, **change})


def test_linear_scaling_divides_every_frequency() -> None:
    plain = rope_spec(CONFIG, 8).array()
    scaled = rope_spec({**CONFIG, "rope_scaling": {"type": "linear", "factor": 4.0}}, 8).array()
    np.testing.assert_allclose(scaled * 4, plain, rtol=1e-6)


def test_llama3_scaling_keeps_short_waves_and_slows_long_ones() -> None:
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    plain = rope_spec(CONFIG, 64).array()
    scaled = rope_spec({**CONFIG, "rope_scaling": scaling}, 64).array()
    ratio = scaled / plain
    assert ratio[0] == 1
    assert ratio[-1] == pytest.approx(1 / 8)
    assert np.all(np.diff(ratio) <= 1e-6)


def test_an_architecture_that_is_not_built_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match=r"\(RwkvForCausalLM\) is not built. Built: Llama"):
        family({"architectures": ["RwkvForCausalLM"]})
