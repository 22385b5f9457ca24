"""The newest gulp, with its past, at every time resolution that is screened."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from ..data import CleanGulp, Int8Array
from ..rows import empty_rows, whole_lines

#: Has so many things worked on, in parts.
type Share = Callable[[Callable[[slice], None], int], None]


def at_once(work: Callable[[slice], None], count: int) -> None:
    """Have all of it worked on."""
    work(slice(count))


@dataclass(frozen=True, slots=True)
class Track:
    """Where the samples of one octave lie in a row: the past, and the gulp behind it.

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

    @property
    def start(self) -> int:
        """Where the gulp begins."""
        return self.begin + self.past

    @property
    def stop(self) -> int:
        """The first element that is not of the octave."""
        return self.start + self.step

    def move(self, passed: int) -> tuple[int, int, int]:
        """Tell what of the gulp and its past is the past of one so many samples later.

        Returns
        -------
        source, target, length
            As for `plain.move`.
        """
        gone = min(passed >> self.octave, self.past + self.step)
        return self.begin + gone, self.begin, min(self.past + self.step - gone, self.past)


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
        self._start = 0

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
        rows, passed = self._rows, gulp.start - self._start
        self._start = gulp.start
        self._share(partial(self._advance, gulp.samples, rows, passed), len(gulp.good))
        return gulp.window, *(rows[:, track.begin : track.stop] for track in self._tracks)

    def _advance(self, samples: Int8Array, every: Int8Array, passed: int, channels: slice) -> None:
        """Average some channels, behind what stays of their past after so many samples."""
        from . import fast

        rows, moves = every[channels], [track.move(passed) for track in self._tracks]
        fast.move(rows, moves)
        for track, (_, target, kept) in zip(self._tracks, moves, strict=True):
            rows[:, target + kept : track.start] = 0
        fast.average(samples[channels], rows, [track.start for track in self._tracks])

    def row(self, nsamples: int) -> int:
        """Give the length of a row of every octave but the first, for gulps of so many samples."""
        return max((track.stop for track in self._lay_out(nsamples)), default=0)

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
            track = Track(octave, begin, whole_lines(halo), nsamples >> octave)
            begin = track.stop
            yield track
