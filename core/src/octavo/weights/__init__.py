"""Weights: from a path to named tensors.

`find` turns what an operator typed into a `Checkpoint`: a config in the words of Hugging Face, a
`WeightSource` that reads one tensor at a time out of mapped files, and a rule from the names that
models use to what the source holds. Nothing is read until a recipe is pulled, and what was read
is only a window into a file, so that the host never holds a model.

Before anything is placed, names, shapes and kinds are held against the model (`load`, `fit`); on
its way a sample of each weight is looked at (`finite`). Weights that lie elsewhere are read by
ranges (`remote`), and those of a config alone are drawn (`dummy`). What can be wrong with a file
is a list, `octavo.testing.broken`.

To test a part: write a small file with the format's own library, and read it back.

Knows nothing of graphs, devices or placement.
"""

from octavo.weights.find import Checkpoint, find

__all__ = ["Checkpoint", "find"]
