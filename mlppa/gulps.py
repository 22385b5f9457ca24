"""Blocks of any length to gulps on a fixed grid."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .data import Block, BoolArray, Gulp
from .errors import InputError
from .metrics import BLOCKS, GAPS, LATE


def gulps(blocks: Iterable[Block], nsamples: int) -> Iterator[Gulp]:
    """Cut a stream anew, so that nothing downstream depends on how it came in.

    Every gulp holds ``nsamples`` spectra and starts on a multiple of that. Samples
    that a gap left out are not valid; a gap that swallows whole gulps is a jump. A block
    without samples says that nothing came for a while: the gulp at hand is not waited for any
    more, and should the rest of it come, it is too late.

    Parameters
    ----------
    blocks
        Blocks in time order.
    nsamples
        Length of a gulp in samples.

    Raises
    ------
    InputError
        If a block starts before the previous one ended, or changes its channels.
    """
    tray: _Tray | None = None
    cursor: int | None = None
    let_go = 0
    for block in blocks:
        if not len(block.spectra):
            if tray is not None:
                cursor = let_go = tray.start + nsamples
                yield tray.gulp(last=cursor, quiet=True)
                tray = None
            continue
        BLOCKS.inc()
        if block.start < let_go:
            block = _behind(block, let_go)
            if not len(block.spectra):
                continue
        if cursor is not None and block.start < cursor:
            raise InputError(
                f"block at sample {block.start}",
                f"it overlaps samples before {cursor} that came already",
                "give files or packets in time order, each sample once",
            )
        if cursor is not None and block.start > cursor:
            GAPS.inc()
        first = block.start if cursor is None else cursor
        begin = block.start
        while begin < block.stop:
            grid = begin - begin % nsamples
            if tray is not None and tray.start != grid:
                yield tray.gulp(last=tray.start + nsamples)
                tray = None
            end = min(block.stop, grid + nsamples)
            if end - begin == nsamples and block.spectra.flags.writeable:
                tray = _Tray.whole(block, begin, nsamples)
            else:
                tray = tray or _Tray.empty(block, grid, nsamples, max(first, grid))
                tray.put(block, begin, end)
            begin = end
        cursor = block.stop
    if tray is not None and cursor is not None:
        yield tray.gulp(last=cursor)


def _behind(block: Block, start: int) -> Block:
    """Give what of a block is not too late."""
    late = min(start - block.start, len(block.spectra))
    LATE.inc(late)
    valid = None if block.valid is None else block.valid[late:]
    return Block(block.start + late, block.spectra[late:], valid, block.received_s)


@dataclass
class _Tray:
    """A gulp in the making."""

    start: int
    first: int
    spectra: NDArray[np.generic]
    valid: BoolArray
    came: int = field(default=0)

    @classmethod
    def empty(cls, block: Block, start: int, nsamples: int, first: int) -> "_Tray":
        shape = (nsamples, block.spectra.shape[1])
        return cls(start, first, np.zeros(shape, block.spectra.dtype), np.zeros(nsamples, np.bool_))

    @classmethod
    def whole(cls, block: Block, start: int, nsamples: int) -> "_Tray":
        """Take a gulp that is part of one block as it is: no copy."""
        here = slice(start - block.start, start - block.start + nsamples)
        valid = np.ones(nsamples, np.bool_) if block.valid is None else block.valid[here]
        return cls(start, start, block.spectra[here], valid, nsamples)

    def put(self, block: Block, begin: int, end: int) -> None:
        if block.spectra.shape[1] != self.spectra.shape[1]:
            raise InputError(
                f"block at sample {block.start}",
                f"{block.spectra.shape[1]} channels after {self.spectra.shape[1]}",
                "one stream has one set of channels: start another stream",
            )
        here = slice(begin - self.start, end - self.start)
        there = slice(begin - block.start, end - block.start)
        dtype = np.result_type(self.spectra, block.spectra)
        if dtype != self.spectra.dtype:
            self.spectra = self.spectra.astype(dtype)
        self.spectra[here] = block.spectra[there]
        self.valid[here] = True if block.valid is None else block.valid[there]
        self.came += end - begin

    def gulp(self, last: int, *, quiet: bool = False) -> Gulp:
        missing = last - self.first - self.came
        return Gulp(self.start, self.spectra, self.valid, self.first, last, missing, quiet)
