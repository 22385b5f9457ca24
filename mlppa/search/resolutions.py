"""The newest gulp, with its past, at every time resolution that is screened."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from ..data import CleanGulp, Int8Array
from ..rows import CACHE_LINE, empty_rows

#: Gulps that lie behind each other before the past of the newest is moved to the front: with
#: one it would be moved every time, with more there would be more to keep.
GULPS = 2


#: Has so many things worked on, in parts.
type Share = Callable[[Callable[[slice], None], int], None]


def at_once(work: Callable[[slice], None], count: int) -> None:
    """Have all of it worked on."""
    work(slice(count))


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

    def start(self, number: int) -> int:
        """Tell where a gulp begins, the first one having number 0."""
        return self.begin + self.past + number * self.step

    def window(self, rows: Int8Array, number: int) -> Int8Array:
        """Give a gulp with what came before it."""
        stop = self.start(number) + self.step
        return rows[:, stop - self.step - self.past : stop]

    def move(self, number: int, passed: int) -> tuple[int, int, int]:
        """Tell what of a gulp and its past is the past of one so many samples later.

        Returns
        -------
        source, target, length
            As for `plain.move`.
        """
        gone = min(passed >> self.octave, self.past + self.step)
        kept = min(self.past + self.step - gone, self.past)
        return self.start(number) - self.past + gone, self.begin, kept


class Resolutions:
    """Averages gulps, one after the other, in time.

    Parameters
    ----------
    halos
        For each resolution, each being half of the one before, how many past samples there
        must be in front of a gulp.
    share
        Has channels worked on, all at once unless it is given; see `dedisperse.Kernel`.
    """

    def __init__(self, halos: Sequence[int], share: Share = at_once) -> None:
        self._halos, self._share = halos, share
        self._tracks: list[Track] = []
        self._rows: Int8Array | None = None
        self._start, self._number = 0, GULPS

    def windows(self, gulp: CleanGulp) -> tuple[Int8Array, ...]:
        """Give a gulp and its past at every resolution, until the next one is given.

        Returns
        -------
        windows
            ``windows[m]`` is int8 of shape (nchans, past + (nsamples >> m)): averaged by
            2**m, with the same noise in counts.

        Raises
        ------
        ValueError
            Where a gulp cannot be halved so often.
        """
        if len(self._halos) == 1:
            return (gulp.window,)
        if self._rows is None:
            self._rows = self._begin(len(gulp.valid), len(gulp.good))
        passed = gulp.start - self._start
        self._start = gulp.start
        self._number += 1
        moves: list[tuple[int, int, int]] = []
        if passed != len(gulp.valid) or self._number >= GULPS:
            before = min(self._number, GULPS) - 1
            moves = [track.move(before, passed) for track in self._tracks]
            self._number = 0
        self._share(partial(self._work, gulp.samples, self._rows, moves), len(gulp.good))
        coarse = (track.window(self._rows, self._number) for track in self._tracks)
        return gulp.window, *coarse

    def _work(
        self,
        samples: Int8Array,
        every: Int8Array,
        moves: Sequence[tuple[int, int, int]],
        channels: slice,
    ) -> None:
        """Average some channels, behind what stays of their past."""
        from . import fast

        rows = every[channels]
        if moves:
            fast.move(rows, moves)
            for track, (_, target, kept) in zip(self._tracks, moves, strict=True):
                rows[:, target + kept : track.start(0)] = 0
        fast.average(samples[channels], rows, [track.start(self._number) for track in self._tracks])

    def row(self, nsamples: int) -> int:
        """Give the length of a row of every octave but the first, for gulps of so many samples."""
        return max((track.start(GULPS) for track in self._lay_out(nsamples)), default=0)

    def _begin(self, nsamples: int, nchans: int) -> Int8Array:
        """Make room for every octave but the first, without any past."""
        if nsamples % (1 << (len(self._halos) - 1)):
            raise ValueError(f"a gulp of {nsamples} samples has no {len(self._halos)} octaves")
        self._tracks = list(self._lay_out(nsamples))
        self._start = -sys.maxsize
        return empty_rows(nchans, self.row(nsamples))

    def _lay_out(self, nsamples: int) -> Iterator[Track]:
        begin = 0
        for octave, halo in enumerate(self._halos[1:], 1):
            past = -(-halo // CACHE_LINE) * CACHE_LINE
            track = Track(octave, begin, past, nsamples >> octave)
            begin = track.start(GULPS)
            yield track
