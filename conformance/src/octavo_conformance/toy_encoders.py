"""Toys with an encoder: sources looked at by every layer, and rows mixed among tokens.

Each generates on a platform and on the oracle, several requests at once, in chunks, by launches
made by hand; tokens are the oracle's, and what a request gives depends on nothing but itself.
Steps are so small that a platform which compiles for sizes needs one for all of them.

Knows no platform.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from octavo.models.decoder import Limits
from octavo.testing.by_hand import Hands, blocks_of, ints, launched, step_of
from octavo.testing.drive import Running, run_on
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import cross, llama, mixed_rows
from octavo.testing.toys.zoo import VOCAB_SIZE
from octavo_conformance.drawing import normal, random
from octavo_conformance.verdict import insist
from octavo_platforms.inputs import DeviceRef, GroupInputs, Ints, StepInputs
from octavo_platforms.loaded import Platform
from octavo_platforms.program import ProgramDef
from octavo_platforms.tensor import Array

LIMITS = Limits(max_step_tokens=16, max_requests=3, max_blocks=8, block_size=4)
NUM_BLOCKS = 1 + LIMITS.max_requests * LIMITS.max_blocks
NUM_TOKENS = 8
PROMPTS = (6, 1, 9)
SOURCES = (5, 9, 2)
TOY = llama.spec(tied_embeddings=False)
Tokens = list[list[int]]


def ids(name: str, num_tokens: int) -> list[int]:
    """Draw token ids."""
    found: list[int] = random(name).integers(0, VOCAB_SIZE, num_tokens).tolist()
    return found


def crossing(platform: Platform) -> Crossing:
    """Load the toy `cross`."""
    return Crossing(_started(platform, cross.program(TOY, limits=LIMITS)))


def mixing(platform: Platform) -> Mixing:
    """Load the toy `mixed_rows`."""
    return Mixing(_started(platform, mixed_rows.program(TOY, limits=LIMITS)))


def _started(platform: Platform, program: ProgramDef) -> Running:
    return run_on(platform, program, RandomWeights(program), num_blocks=NUM_BLOCKS)


@dataclass(frozen=True, slots=True)
class Crossing:
    """The toy `cross` on one platform."""

    running: Running

    def encode(self, sources: Sequence[Sequence[int]]) -> None:
        """Encode all sources in one launch, the first for seat 1."""
        seats = range(1, len(sources) + 1)
        step = step_of(self.running.definition, seats, sources, [0] * len(sources))
        lengths = ints(len(source) for source in sources)
        launched(self.running, replace(_beside(step, lengths), entry=cross.ENCODE)).read()

    def decode(
        self,
        sources: Sequence[Sequence[int]],
        prompts: Sequence[Sequence[int]],
        *,
        temperature: float = 0.0,
        chunk: int = 5,
    ) -> Tokens:
        """Encode the sources, then decode the prompts together."""
        self.encode(sources)
        lengths = ints(len(source) for source in sources)
        hands = Hands(self.running, lambda step: _beside(step, lengths[step.seat - 1]))
        return hands.run(prompts, temperature=temperature, num_tokens=NUM_TOKENS, chunk=chunk)


def _beside(step: StepInputs, lengths: Ints) -> StepInputs:
    """Put the group of sources into a step. Shapes: lengths [R]."""
    width = -(-int(lengths.max()) // LIMITS.block_size)
    table = blocks_of(step.seat, width, cross.MAX_SOURCE_BLOCKS)
    more = {cross.GROUP: GroupInputs(table, lengths=lengths)}
    return replace(step, groups={**step.groups, **more})


def decodes_what_was_encoded(toy: Crossing, oracle: Crossing, temperature: float) -> None:
    """Insist on the oracle's tokens, in any batch and chunks, each source seen whole.

    Raises: Failed.
    """
    sources = [ids(f"source {length}", length) for length in SOURCES]
    prompts = [ids(f"prompt {length}", length) for length in PROMPTS]
    found = toy.decode(sources[:2], prompts[:2], temperature=temperature)
    insist(
        found == oracle.decode(sources[:2], prompts[:2], temperature=temperature),
        f"tokens are {found}, not the oracle's",
    )
    whole = toy.decode(sources, prompts, temperature=temperature, chunk=16)
    insist(whole[:2] == found, f"a mate and whole prompts changed tokens to {whole[:2]}")
    first = toy.decode(sources[:1], prompts[:1], temperature=temperature, chunk=3)
    insist(first == found[:1], f"alone, the tokens are {first}")
    changed = [*sources[0][:-1], (sources[0][-1] + 1) % VOCAB_SIZE]
    other = toy.decode([changed], prompts[:1], temperature=temperature)
    insist(other != first, "the last token of a source is not seen")


@dataclass(frozen=True, slots=True)
class Picture:
    """A prompt of text around a picture.

    Shapes: rows [P], which kept row each patch is; offsets [3, P], each patch's place less its
        position; `behind` is the offset of all text behind the picture.
    """

    before: Sequence[int]
    rows: Sequence[int]
    offsets: Ints
    behind: int
    after: Sequence[int]

    @property
    def prompt(self) -> list[int]:
        """Give the token ids; a patch's id is looked up and replaced."""
        return [*self.before, *[0] * len(self.rows), *self.after]

    def along(self, positions: Ints) -> tuple[Ints, Ints]:
        """Give `embed_rows` and `rope_offsets` of positions. Shapes: [Q]; [Q] and [3, Q]."""
        first, end = len(self.before), len(self.before) + len(self.rows)
        sources, places = np.zeros(end + 1, np.int32), np.zeros((3, end + 1), np.int32)
        sources[first:end] = self.rows
        places[:, first:] = self.behind
        places[:, first:end] = self.offsets
        at = np.minimum(positions, end)
        return sources[at], places[:, at]


def picture(before: int, grid: tuple[int, int], after: int, first_row: int) -> Picture:
    """Place a grid of patches as Qwen2-VL does; text goes on behind the largest place."""
    height, width = grid
    rows, columns = np.divmod(np.arange(height * width), width)
    places = before + np.stack([np.zeros_like(rows), rows, columns])
    positions = before + np.arange(height * width)
    return Picture(
        ids(f"before {before}", before),
        range(first_row, first_row + height * width),
        (places - positions).astype(np.int32),
        max(grid) - height * width,
        ids(f"after {after}", after),
    )


@dataclass(frozen=True, slots=True)
class Mixing:
    """The toy `mixed_rows` on one platform."""

    running: Running

    def encode(self, pictures: Sequence[Picture]) -> None:
        """Encode the patches of pictures in one launch."""
        rows = [each.rows for each in pictures]
        count = sum(map(len, rows))
        patches = normal("patches", count, mixed_rows.PATCH_WIDTH)
        self._feed(mixed_rows.ENCODE, rows, {"patches": patches.astype(np.float32)})

    def keep(self, rows: Sequence[int], given: Array) -> None:
        """Keep rows that the caller has. Shapes: given [len(rows), E]."""
        self._feed(mixed_rows.KEEP, [rows], {"given_rows": given})

    def generate(
        self, pictures: Sequence[Picture], *, temperature: float = 0.0, chunk: int = 16
    ) -> Tokens:
        """Run prompts together."""

        def dress(inputs: StepInputs) -> StepInputs:
            counts = np.diff(inputs.query_starts)
            along = [
                pictures[seat - 1].along(before + np.arange(count, dtype=np.int32))
                for seat, before, count in zip(inputs.seat, inputs.computed, counts, strict=True)
            ]
            extra: dict[str, Array | DeviceRef] = {
                "embed_rows": np.concatenate([rows for rows, _ in along]),
                "rope_offsets": np.concatenate([offsets for _, offsets in along], axis=1),
            }
            return replace(inputs, extra={**inputs.extra, **extra})

        hands, prompts = Hands(self.running, dress), [each.prompt for each in pictures]
        return hands.run(prompts, temperature=temperature, num_tokens=NUM_TOKENS, chunk=chunk)

    def _feed(self, entry: str, rows: Sequence[Sequence[int]], given: Mapping[str, Array]) -> None:
        at = ints(row for each in rows for row in each)
        blank = [[0] * len(each) for each in rows]
        seats = range(1, len(rows) + 1)
        step = step_of(self.running.definition, seats, blank, [0] * len(rows))
        extra = {"keep_at": at, **given}
        launched(self.running, replace(step, entry=entry, extra=extra)).read()


def mixes_rows_among_tokens(toy: Mixing, oracle: Mixing, temperature: float) -> None:
    """Insist on the oracle's tokens, whatever chunks a picture is cut into, with mates and alone.

    Raises: Failed.
    """
    pictures = (picture(2, (2, 3), 1, 1), picture(1, (2, 2), 2, 7))
    for each in (toy, oracle):
        each.encode(pictures)
    exact = oracle.generate(pictures, temperature=temperature)
    for chunk in (9, 4, 1):
        found = toy.generate(pictures, temperature=temperature, chunk=chunk)
        insist(found == exact, f"in chunks of {chunk} the tokens are {found}, not {exact}")
    alone = toy.generate(pictures[:1], temperature=temperature, chunk=5)
    insist(alone == exact[:1], f"alone, the tokens are {alone}, not {exact[:1]}")


def reads_given_rows_as_tokens(toy: Mixing) -> None:
    """Insist that embeddings given as rows are read as the tokens they are of, wherever chunks end.

    Raises: Failed.
    """
    source = RandomWeights(mixed_rows.program(TOY, limits=LIMITS))
    table = source.read("model.embed_tokens.weight").array
    text = ids("text", 14)
    plain = Picture(text[:4], [], np.zeros((3, 0), np.int32), 0, text[4:])
    rows = range(20, 26)
    given = Picture(text[:4], rows, np.zeros((3, 6), np.int32), 0, text[10:])
    toy.keep(rows, table[text[4:10]])
    exact = toy.generate([plain])
    found = toy.generate([plain, given], chunk=7)
    insist(found == exact * 2, f"the tokens are {found}, not {exact}")
    shifted = replace(given, offsets=given.offsets + 3, behind=3)
    insist(toy.generate([shifted]) != exact, "where rows stand changed nothing")
    even = replace(plain, before=[], after=text, behind=3)
    insist(toy.generate([even]) == exact, "a shift of all places changed tokens")
