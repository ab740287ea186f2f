"""The wire: messages between processes, as frames of bytes.

A message is a frozen dataclass; its fields are whatever msgspec knows (numbers, text, lists,
mappings, unions, other dataclasses) and numpy arrays. Its first frame is msgpack: the name of
its class and its fields. A small array's bytes stand in there; a large one is a frame of its
own, which is the array's own memory and is not copied here, neither out nor in.

    Add(id, prompt)  ->  [ ["Add", {id: .., prompt: ["<i4", [70000], 0]}] | 280,000 bytes ]
    array            ->  [dtype, shape, bytes or the number of its frame]

Nothing that arrives is run: a name, dtype or size that does not fit is an error. There is no
pickle. Knows nothing of what carries the frames, nor of what a message means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar, get_args, get_origin

import msgspec
import numpy as np
import numpy.typing as npt

from octavo.errors import InternalError

Message = TypeVar("Message")
Frame = bytes | bytearray | memoryview

_INLINE_BYTES = 4096
_KINDS = "biufc"
_Packed = tuple[str, tuple[int, ...], bytes | int]


class Wire(Generic[Message]):
    """Turns messages of the given classes into frames and back.

    Made once and kept: finding out how a class is encoded takes long. One thread uses it.

    Raises: InternalError, for two classes of one name.
    """

    def __init__(self, classes: Sequence[type[Message]]) -> None:
        self._frames: list[Frame] = []
        self._received: Sequence[Frame] = ()
        self._encoder = msgspec.msgpack.Encoder(enc_hook=self._pack)
        self._envelope = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw])
        self._decoder_of = {
            each.__name__: msgspec.msgpack.Decoder(each, dec_hook=self._unpack) for each in classes
        }
        if len(self._decoder_of) != len(classes):
            raise InternalError(f"two of these have one name: {', '.join(map(str, classes))}")

    def encode(self, message: Message) -> list[Frame]:
        """Give a message's frames.

        Effects: frames after the first are the message's own arrays where those lie in one
            piece; who sends them later than at once must not change them before.
        Raises: InternalError, for a class that was not given, or a field with no encoding.
        """
        name = type(message).__name__
        if name not in self._decoder_of:
            raise InternalError(f"a {name} is not sent here; {self._known()}")
        self._frames = []
        try:
            head = self._encoder.encode((name, message))
        except (TypeError, NotImplementedError) as error:
            raise InternalError(f"a {name} cannot be encoded: {error}") from error
        frames, self._frames = [head, *self._frames], []
        return frames

    def decode(self, frames: Sequence[Frame]) -> Message:
        """Give the message that these frames are.

        Effects: its arrays are read-only views of the frames.
        Raises: InternalError, for frames that are no message of the given classes.
        """
        if not frames:
            raise InternalError("a message without frames arrived")
        name = "message"
        self._received = frames[1:]
        try:
            name, body = self._envelope.decode(frames[0])
            if name not in self._decoder_of:
                raise InternalError(f"a {name} arrived, which is not read here; {self._known()}")
            return self._decoder_of[name].decode(body)
        except (msgspec.MsgspecError, TypeError, ValueError) as error:
            raise InternalError(f"a {name} arrived that cannot be read: {error}") from error
        finally:
            self._received = ()

    def _known(self) -> str:
        return f"known are {', '.join(sorted(self._decoder_of))}"

    def _pack(self, value: object) -> _Packed:
        if isinstance(value, np.generic):
            raise NotImplementedError(f"{value!r} is a numpy scalar: give int() or float() of it")
        if not isinstance(value, np.ndarray) or value.dtype.kind not in _KINDS:
            raise NotImplementedError(f"{type(value).__name__} has no encoding")
        array = value if value.flags.c_contiguous else np.ascontiguousarray(value)
        if array.nbytes <= _INLINE_BYTES:
            return array.dtype.str, array.shape, array.tobytes()
        self._frames.append(array.reshape(-1).view(np.uint8).data)
        return array.dtype.str, array.shape, len(self._frames) - 1

    def _unpack(self, wanted: type, packed: object) -> npt.NDArray[np.generic]:
        if (get_origin(wanted) or wanted) is not np.ndarray:
            raise NotImplementedError(f"{wanted} has no encoding")
        name, shape, content = msgspec.convert(packed, _Packed)
        dtype = np.dtype(name)
        if dtype.kind not in _KINDS:
            raise ValueError(f"arrays of {dtype} are not sent")
        asked = get_args(wanted)
        scalar = get_args(asked[1])[0] if len(asked) > 1 and get_args(asked[1]) else np.generic
        if isinstance(scalar, type) and not issubclass(dtype.type, scalar):
            raise ValueError(f"an array of {dtype} arrived where {scalar.__name__} was expected")
        array = np.frombuffer(self._bytes(content), dtype)
        array.flags.writeable = False
        return array.reshape(shape)

    def _bytes(self, content: bytes | int) -> Frame:
        if isinstance(content, bytes):
            return content
        if not 0 <= content < len(self._received):
            raise ValueError(f"frame {content} of {len(self._received)} is missing")
        return self._received[content]
