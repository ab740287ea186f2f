"""Messages as frames: what arrives is what was sent, and what does not fit is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from octavo.errors import InternalError
from octavo.request import FinishReason, RequestId
from octavo.sampling import SamplingParams
from octavo.wire import Frame, Wire
from octavo_platforms.inputs import Ints

NUMBERS = st.sampled_from("i4 i8 u4 u2 u1 f4 f8 f2 b1".split()).map(np.dtype)


@dataclass(frozen=True, slots=True)
class News:
    ids: Sequence[RequestId]
    tokens: Ints
    finished: Mapping[RequestId, FinishReason]
    params: SamplingParams | None = None
    table: Ints | None = None


@dataclass(frozen=True, slots=True)
class Parcel:
    arrays: Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Loose:
    anything: object


@dataclass(frozen=True, slots=True)
class Unknown:
    number: int


def wire() -> Wire[News | Parcel | Loose]:
    return Wire((News, Parcel, Loose))


def over_the_wire(message: News | Parcel | Loose) -> News | Parcel | Loose:
    return wire().decode([bytes(frame) for frame in wire().encode(message)])


def some_news(tokens: Ints) -> News:
    return News([RequestId("a")], tokens, {RequestId("b"): "stop"}, SamplingParams(seed=2**62))


def refused(message: News | Parcel | Loose) -> str:
    with pytest.raises(InternalError) as found:
        wire().encode(message)
    return str(found.value)


def unreadable(frames: Sequence[Frame]) -> str:
    with pytest.raises(InternalError) as found:
        wire().decode(frames)
    return str(found.value)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(), arrays.arrays(NUMBERS, arrays.array_shapes(min_side=0))))
def test_arrays_of_any_shape_and_dtype_arrive_as_they_were_sent(
    sent: dict[str, npt.NDArray[np.generic]],
) -> None:
    found = over_the_wire(Parcel(sent))
    assert isinstance(found, Parcel)
    assert list(found.arrays) == list(sent)
    for name, array in found.arrays.items():
        assert (array.dtype, array.shape) == (sent[name].dtype, sent[name].shape)
        assert array.tobytes() == sent[name].tobytes()


def test_every_field_of_a_message_arrives() -> None:
    sent = some_news(np.array([5, 3], np.int32))
    found = over_the_wire(sent)
    assert isinstance(found, News)
    assert (found.ids, found.finished, found.params, found.table) == (
        sent.ids,
        sent.finished,
        sent.params,
        None,
    )
    assert found.tokens.tolist() == [5, 3]


def test_a_large_array_is_a_frame_that_is_its_own_memory_on_both_sides() -> None:
    tokens = np.arange(100_000, dtype=np.int32)
    frames = wire().encode(some_news(tokens))
    assert len(frames) == 2
    found = wire().decode(frames)
    assert isinstance(found, News)
    assert np.shares_memory(found.tokens, tokens)
    assert not found.tokens.flags.writeable


def test_an_array_in_pieces_is_sent_whole() -> None:
    table = np.arange(10_000, dtype=np.int32).reshape(100, 100)[:, ::2]
    found = over_the_wire(News([], table[0], {}, table=table))
    assert isinstance(found, News)
    assert found.table is not None
    assert np.array_equal(found.table, table)


def test_an_array_of_another_dtype_than_its_field_is_refused() -> None:
    wrong = some_news(np.zeros(3, np.int64))
    assert "int64" in unreadable(wire().encode(wrong))


def test_what_has_no_encoding_is_refused_by_name() -> None:
    assert "object has no encoding" in refused(Loose(object()))
    assert "numpy scalar" in refused(Loose(np.int32(3)))
    assert "ndarray has no encoding" in refused(Parcel({"a": np.array([None])}))


def test_a_class_that_was_not_named_is_neither_sent_nor_read() -> None:
    other: Wire[Unknown] = Wire((Unknown,))
    frames = other.encode(Unknown(1))
    assert "Unknown" in unreadable(frames)
    with pytest.raises(InternalError, match="News"):
        other.decode(wire().encode(some_news(np.zeros(1, np.int32))))


def test_frames_that_are_cut_or_missing_are_refused() -> None:
    frames = [bytes(frame) for frame in wire().encode(some_news(np.zeros(9999, np.int32)))]
    assert "missing" in unreadable(frames[:1])
    assert "cannot be read" in unreadable([frames[0], frames[1][:-4]])
    assert "cannot be read" in unreadable([frames[0][:-3], frames[1]])
    assert "cannot be read" in unreadable([b"\x80\x04\x95"])
    assert "without frames" in unreadable([])


def test_two_classes_of_one_name_are_refused() -> None:
    with pytest.raises(InternalError, match="one name"):
        Wire((News, News))
