"""The demo model, where it was fetched, in both of its forms: as a file, and as a folder.

The folder is written by transformers from the file, so that two readings of it can be compared.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from octavo.config import from_environment

# What the conversion of a GGUF file rounds, or says in newer words than readers of a config use.
CONFIG = {"rms_norm_eps": 1e-5, "rope_theta": 100000.0, "rope_scaling": None}


@pytest.fixture(scope="session")
def demo_gguf() -> Path:
    path = from_environment().cache_dir / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    if not path.is_file():
        pytest.skip(f"no demo model at {path}; fetch it: python -m octavo.weights.demo")
    return path


@pytest.fixture(scope="session")
def demo_folder(demo_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    pre = pytest.importorskip("tokenizers.pre_tokenizers")
    folder = tmp_path_factory.mktemp("models") / "SmolLM2-135M-Instruct"
    file = {"gguf_file": demo_gguf.name}
    tokenizer = transformers.AutoTokenizer.from_pretrained(demo_gguf.parent, **file)
    # The file says by a name alone that digits are split; the conversion forgets it.
    tokenizer.backend_tokenizer.pre_tokenizer = pre.Sequence(
        [pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    tokenizer.save_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        demo_gguf.parent,
        dtype=torch.bfloat16,
        quantization_config=transformers.GgufConfig(dequantize=True),
        **file,
    )
    for attribute in ("quantization_config", "_pre_quantization_dtype"):
        if hasattr(model.config, attribute):
            delattr(model.config, attribute)
    model.is_quantized, model.hf_quantizer = False, None
    model.to(torch.bfloat16).save_pretrained(folder)
    written = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**written, **CONFIG}))
    return folder
