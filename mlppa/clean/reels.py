"""Clean samples with what came before them in front: what a screen reads.

Several gulps lie one behind the other in one piece of memory, a reel, so that the past of
most of them is there already. Only where a reel is full, or the stream has a gap, the last
samples are copied to the front of another one. No sample is written twice: who holds a gulp
may keep it.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..data import Int8Array
from ..rows import CACHE_LINE, Shelf

#: Gulps on a reel: with one the past of each would be copied, with more all are kept as
#: long as one of them is needed.
GULPS = 2


@dataclass(frozen=True, slots=True)
class Track:
    """Where the samples of one octave lie in a row: its past, and the gulps behind it.

    Parameters
    ----------
    octave
        How often they were halved.
    begin
        First element of the row.
    past
        Past samples.
    step
        Samples of a gulp.
    """

    octave: int
    begin: int
    past: int
    step: int

    def window(self, rows: Int8Array, number: int) -> Int8Array:
        """Give a gulp, the first one having number 0, with what came before it."""
        first = self.begin + number * self.step
        return rows[:, first : first + self.past + self.step]


class Reel:
    """Room for some gulps of some octaves.

    Parameters
    ----------
    halos
        How many past samples each octave must have in front of every gulp.
    shape
        Samples and channels of a gulp.
    """

    def __init__(self, halos: Mapping[int, int], shape: tuple[int, int]) -> None:
        self._nsamples, nchans = shape
        self._tracks: list[Track] = []
        self._length = 0
        for octave, halo in halos.items():
            # samples are written in whole lines
            past = -(-halo // CACHE_LINE) * CACHE_LINE
            track = Track(octave, self._length, past, self._nsamples >> octave)
            self._tracks.append(track)
            self._length += track.past + GULPS * track.step
        self._shelf = Shelf(nchans, self._length)
        self._rows, self._number = self._shelf.take(), 0
        self._start: int | None = None

    @property
    def windows(self) -> list[Int8Array]:
        """The newest gulp of each octave and its past, shapes (nchans, past + nsamples)."""
        return [track.window(self._rows, self._number) for track in self._tracks]

    @property
    def starts(self) -> list[int]:
        """Where the newest gulp of each octave begins in a row."""
        return [t.begin + t.past + self._number * t.step for t in self._tracks]

    def advance(self, start: int) -> Int8Array:
        """Make room for the gulp that begins at sample ``start``.

        Returns
        -------
        rows
            To be written to from `starts` on; all that is in front is there. Shape
            (nchans, samples of a reel).
        """
        passed = sys.maxsize if self._start is None else start - self._start
        self._start = start
        if passed == self._nsamples and self._number + 1 < GULPS:
            self._number += 1
            return self._rows
        before, self._rows, self._number = self.windows, self._shelf.take(), 0
        for track, old, new in zip(self._tracks, before, self.windows, strict=True):
            gone = passed >> track.octave
            kept = min(max(track.past + track.step - gone, 0), track.past)
            new[:, :kept] = old[:, gone : gone + kept]
            new[:, kept : track.past] = 0
        return self._rows


class Reels:
    """Room for all octaves of the newest gulp, and their past.

    The first octave, which is kept for long, is no part of the others, which are not. Its
    parameters are those of `Reel`, halos by the order of octaves.
    """

    def __init__(self, halos: Sequence[int], shape: tuple[int, int]) -> None:
        self._nsamples, _ = shape
        first, *others = enumerate(halos)
        self._fine = Reel(dict([first]), shape)
        self._coarse = Reel(dict(others), shape)

    @property
    def windows(self) -> tuple[Int8Array, ...]:
        """The newest gulp of each octave and its past, shapes (nchans, past + nsamples)."""
        return (*self._fine.windows, *self._coarse.windows)

    def advance(self, start: int) -> tuple[Int8Array, Int8Array, list[int]]:
        """Make room for the gulp that begins at sample ``start``.

        Returns
        -------
        rows
            For the first octave, shape (nchans, nsamples).
        coarse, starts
            For the others, shape (nchans, any), and where they begin in it.
        """
        fine, coarse = self._fine.advance(start), self._coarse.advance(start)
        (first,) = self._fine.starts
        return fine[:, first : first + self._nsamples], coarse, self._coarse.starts
