"""Foreign models: Hugging Face modules whose attention is ours.

A module of transformers knows what lies between two attentions. Where it attends it calls a
function by name, and under our name stands one that writes into the blocks of the engine and
attends there, so that batching, chunked prompts and remembered prefixes hold for it as for any
other model. All tokens of a step are one row [1, T]; where each stands comes from the engine.

    find        the checkpoint's class, if it is transformers' own; refusals by name
    rehearsal   a forward pass without weights: what its attention is asked for
    attention   the function that modules call, and what it does for each layer
    program     launches: `forward` by the module, `sample` by the base's own program
    proof       after loading: chunks and batch mates must change nothing, or it is refused

Code that comes with a checkpoint is never run, and no pickled file is opened. transformers is
imported when a foreign model is asked for. Everything runs on the thread that launches. Test
it with tiny random checkpoints: `conformance/tests/parity/test_foreign.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from octavo_platforms.foreign import ForeignModel, ForeignSpec
from octavo_platforms.platform import Unsupported
from octavo_platforms.program import ProgramDef
from octavo_platforms.shapes import ShapePolicy
from octavo_torch.context import TorchContext
from octavo_torch.foreign.refused import Refused


def bind_model(
    spec: ForeignSpec, context: TorchContext, shapes: Callable[[ProgramDef], ShapePolicy]
) -> ForeignModel | Unsupported:
    """Give a model of transformers, or say why it cannot be run.

    `shapes` gives the buckets of a program's steps.
    """
    try:
        import transformers
    except ImportError:
        return Unsupported("needs transformers: pip install 'octavo-torch[transformers]'")
    from octavo_torch.foreign.find import found
    from octavo_torch.foreign.program import loading
    from octavo_torch.foreign.rehearsal import rehearsed

    try:
        architecture = found(spec)
        known = rehearsed(architecture)
    except Refused as refusal:
        return Unsupported(str(refusal))
    return ForeignModel(
        name=architecture.name,
        words=f"octavo_torch, with transformers {transformers.__version__}",
        vocab_size=known.vocab_size,
        max_context_tokens=architecture.max_context_tokens,
        num_weights=known.num_weights,
        attention=known.attention,
        load=loading(architecture, known, context, shapes),
    )
