"""Files of a checkpoint that are code: never opened, never run; and what to do instead.

A pickled file runs whatever it holds when it is opened. A config may ask for modules that lie
beside it (`auto_map`); a model that is built here, or that a platform knows by itself, does
without them.

Knows nothing of which models are built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def is_pickled(path: Path) -> bool:
    """Tell by its name whether a file is a pickled checkpoint."""
    return any(path.match(pattern) for pattern in PICKLES)


def pickles_in(folder: Path) -> Sequence[str]:
    """Name the pickled checkpoints of a folder."""
    return sorted(path.name for path in folder.iterdir() if is_pickled(path))


def pickled(where: Path, names: Sequence[str]) -> str:
    """Refuse pickled weights, with how to have them without the code."""
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return (
        f"{where} has only pickled weights ({shown}), which can run any code when they are opened, "
        "and are refused. Fetch a revision with safetensors (hf download MODEL --include "
        "'*.safetensors'), or convert them where running their code does no harm: load the model "
        "with transformers and call save_pretrained(folder), which writes safetensors."
    )


def own_code(config: Mapping[str, object]) -> str:
    """Say that a config asks for code of its own, nothing where it does not."""
    asked = config.get("auto_map")
    if not isinstance(asked, Mapping) or not asked:
        return ""
    modules = ", ".join(sorted({str(each) for each in asked.values()}))
    return (
        f" config.json asks for code of its own (auto_map: {modules}), which is never run. Use a "
        "checkpoint whose 'architectures' names a model that is built, if there is one."
    )
