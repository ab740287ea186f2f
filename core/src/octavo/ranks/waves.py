"""Waves: how ranks with requests of their own agree on each launch.

A wave is one launch on every rank. Whoever has work votes with its number of tokens; who sees
a vote of the present wave is called, and votes too, with 0 where it has nothing. When every
rank has voted, all know all numbers, and launch.

    rank 0   vote(7) ──────────┐         (7, 0) ─> launch 7 tokens
    rank 1   is_called ─ vote(0) ┘       (7, 0) ─> launch none, for the others' sake

A rank that will have no work again says that it rests. It still takes part in waves of others,
and may go once all rest. Votes travel between hosts: no device is asked for a number. Knows
nothing of requests, nor of what is launched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import zmq

from octavo.errors import DeviceError
from octavo.wire import Wire

_LINGER_MS = 1000


@dataclass(frozen=True, slots=True)
class Vote:
    """A rank's number of tokens in a wave; None says that it rests."""

    rank: int
    wave: int
    num_tokens: int | None


@dataclass(frozen=True, slots=True)
class Failed:
    """A rank cannot launch any more; `words` are its error's."""

    rank: int
    words: str


class Waves:
    """One rank's side of the agreement; `addresses` are where each rank listens, by number.

    Units: `patience_s` is how long a rank that was called may stay silent.
    """

    def __init__(self, *, rank: int, addresses: Sequence[str], patience_s: float = 300.0) -> None:
        self._rank = rank
        self._patience_s = patience_s
        self._wire: Wire[Vote | Failed] = Wire((Vote, Failed))
        self._wave = 0
        self._votes: dict[tuple[int, int], int] = {}
        self._resting: set[int] = set()
        self._failed: dict[int, str] = {}
        self._others = [number for number in range(len(addresses)) if number != rank]
        self._context = zmq.Context()
        self._hears = self._context.socket(zmq.PULL)
        self._hears.bind(addresses[rank])
        self._tells = [self._context.socket(zmq.PUSH) for _ in self._others]
        for socket, number in zip(self._tells, self._others, strict=True):
            socket.connect(addresses[number])

    @property
    def are_others_resting(self) -> bool:
        """Tell whether no other rank will have work again."""
        self._hear(wait_s=0.0)
        return len(self._resting) == len(self._others)

    def rest(self) -> None:
        """Tell all others that this rank will have no work again."""
        self._tell(Vote(self._rank, self._wave, None))

    def fail(self, words: str) -> None:
        """Tell all others that this rank cannot launch any more, and why."""
        self._tell(Failed(self._rank, words))

    def is_called(self, *, wait_s: float = 0.0) -> bool:
        """Tell whether another rank has voted in the present wave; wait a while for one."""
        self._hear(wait_s=0.0)
        if not self._is_voted():
            self._hear(wait_s=wait_s)
        return self._is_voted()

    def agree(self, num_tokens: int) -> tuple[int, ...]:
        """Vote in the present wave and wait for all others; give every rank's number of tokens.

        Raises: DeviceError, for ranks that stay silent or have failed.
        """
        self._tell(Vote(self._rank, self._wave, num_tokens))
        self._votes[self._rank, self._wave] = num_tokens
        missing = self._missing()
        while missing:
            if self._failed:
                words = "; ".join(
                    f"rank {rank} failed: {why}" for rank, why in self._failed.items()
                )
                raise DeviceError(f"{words}. Start all ranks again.")
            if not self._hear(wait_s=self._patience_s):
                raise DeviceError(
                    f"the ranks {missing} were silent for {self._patience_s:g} s when rank "
                    f"{self._rank} wanted to launch {num_tokens} tokens. Start all ranks again."
                )
            missing = self._missing()
        ranks = range(len(self._others) + 1)
        found = tuple(self._votes.pop((rank, self._wave)) for rank in ranks)
        self._wave += 1
        return found

    def close(self) -> None:
        """Let go of the other ranks. Closing twice does nothing."""
        if not self._context.closed:
            for socket in (*self._tells, self._hears):
                socket.close(linger=_LINGER_MS)
            self._context.term()

    def _missing(self) -> list[int]:
        return [rank for rank in self._others if (rank, self._wave) not in self._votes]

    def _is_voted(self) -> bool:
        return len(self._missing()) < len(self._others)

    def _tell(self, message: Vote | Failed) -> None:
        frames = self._wire.encode(message)
        for socket in self._tells:
            socket.send_multipart(frames)

    def _hear(self, *, wait_s: float) -> bool:
        """Take in what has arrived, waiting for a first vote; tell whether there was any."""
        is_any = False
        while self._hears.poll(0 if is_any else int(wait_s * 1000)):
            is_any = True
            heard = self._wire.decode(self._hears.recv_multipart())
            if isinstance(heard, Failed):
                self._failed[heard.rank] = heard.words
            elif heard.num_tokens is None:
                self._resting.add(heard.rank)
            else:
                self._votes[heard.rank, heard.wave] = heard.num_tokens
        return is_any
