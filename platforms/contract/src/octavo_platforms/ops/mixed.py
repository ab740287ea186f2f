"""Ops of models that read more than text: rows among token embeddings, positions on several axes.

    token_ids ─embedding─> x ─┐
    encoder_rows [N, E] ──────┴─mix_rows(source)─> x        source 0 is text
    positions [T] + offsets [A, T] ─rope_sections─> one table for all layers

What encoders made, or a caller gave, stands in a buffer whose row 0 is null: padding goes there
and its content is undefined. An image's rows have places in time, height and width, text has the
same on all axes; so a token's places are told as offsets from its own position, which with
launches in flight only the device knows.

Knows nothing of images, nor of who writes the buffer (`scatter_rows`).
"""

from __future__ import annotations

from collections.abc import Sequence

from octavo_platforms.graph import TensorType, ValueType
from octavo_platforms.ops.op import Attrs, Op, ShapeError, expect, fixed, real, tensor


def _mix_rows(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """X [T, E], source int32 [T], kept [N, E] -> [T, E].

    Source 0 keeps a token's row of x; source k takes row k of what is kept. Row 0 of that does
    not matter, not-a-number included.
    """
    x, source, kept = (tensor(types, index) for index in range(3))
    expect(len(x.shape) == len(kept.shape) == 2, f"rows have two axes, not {x} and {kept}")
    each = TensorType(x.shape[:1], "int32")
    expect(source == each, f"{source} is not one source for each of {x}")
    expect(kept.shape[1] == x.shape[1] and kept.dtype == x.dtype, f"{kept} are no rows like {x}")
    return (x,)


def _rope_sections(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Positions int32 [T], offsets int32 [A, T], frequencies float32 [D/2] -> float32 [T, D].

    As `rope_table`, but frequency j turns with the place on axis sections[j]: position + offset.
    Attributes: factor, sections (an axis for each frequency, in any order).
    Source: arXiv 2409.12191 section 2.1.
    """
    positions, offsets, frequencies = (tensor(types, index) for index in range(3))
    real(attrs, "factor")
    expect(len(offsets.shape) == 2, f"offsets have two axes, not {offsets}")
    expect(offsets.shape[1:] == positions.shape, f"{offsets} does not fit {positions}")
    expect(offsets.dtype == positions.dtype == "int32", f"{positions} and {offsets} are no int32")
    num_axes, count = fixed(offsets.shape[0]), fixed(frequencies.shape[0])
    found = sections_of(attrs)
    expect(len(found) == count > 0, f"{len(found)} sections are not one for each of {frequencies}")
    axes = sorted(set(found))
    expect(axes[0] >= 0 and axes[-1] < num_axes, f"{offsets} has not all the axes {axes}")
    return (TensorType((positions.shape[0], 2 * count), "float32"),)


def sections_of(attrs: Attrs) -> tuple[int, ...]:
    """Give the axis of each frequency from an op's attributes. Raises: ShapeError."""
    found = attrs.get("sections")
    if not isinstance(found, tuple) or not all(isinstance(each, int) for each in found):
        raise ShapeError(f"'sections' has to be a tuple of integers, not {found!r}")
    return tuple(each for each in found if isinstance(each, int))


MIX_ROWS = Op(name="mix_rows", infer=_mix_rows)
ROPE_SECTIONS = Op(name="rope_sections", infer=_rope_sections)

OPS = (MIX_ROWS, ROPE_SECTIONS)
