"""Raw spectra to int8 rows of equal noise, with what is not sky left out.

Each channel is brought to zero mean and `SIGMA` counts of noise by moments that
ignore outliers, so that neither a bright burst nor interference sets the scale.
Broad-band interference is *not* subtracted sample by sample: such a zero-DM filter
eats pulses of low DM. Only its slow part goes, see `baseline`. Short bursts stay;
the search has DM 0 among its trials to know them.

What touches every sample stands in `fast`, compiled, and once more in `plain`, the
oracle. It runs over the spectra as they came: only int8 is ever transposed, and written
to a reel, behind what came before.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..data import BoolArray, CleanGulp, Float32Array, Gulp, Int8Array
from ..metrics import MASKED_CHANNELS
from .baseline import Baseline, Follower, Stretch
from .moments import Judgement, clipped_moments
from .plain import SIGMA, TILE
from .reels import Reel, Room

__all__ = ["SIGMA", "TILE", "Arithmetic", "Room", "clean", "clean_by", "clipped_moments"]

#: Number types that are compiled for; others become 32-bit floats first.
COMPILED = frozenset(map(np.dtype, ("u1", "i1", "u2", "i2", "f4")))

#: A gulp between those beside it, None where the stream has a hole or an end.
type _Neighbours = tuple[Stretch | None, tuple[Gulp, Stretch], Stretch | None]


class Arithmetic(Protocol):
    """The passes over all samples of a gulp; `plain` says what each of them does."""

    def dropped(self, spectra: NDArray[np.generic]) -> BoolArray:
        """Find spectra without sky."""
        ...

    def trimmed_sums(
        self,
        spectra: NDArray[np.generic],
        starts: NDArray[np.int64],
        slow: Float32Array,
        centre: Float32Array,
        response: Float32Array,
        reach: Float32Array,
    ) -> NDArray[np.float64]:
        """Sum up deviations that are not outliers."""
        ...

    def band_sums(
        self,
        spectra: NDArray[np.generic],
        slow: Float32Array,
        mean: Float32Array,
        inverse: Float32Array,
    ) -> tuple[Float32Array, Float32Array]:
        """Sum up channels, and samples in bins."""
        ...

    def running_median(self, series: Float32Array, window: int) -> Float32Array:
        """Take the median of a window around each sample."""
        ...

    def quantise(
        self,
        spectra: NDArray[np.generic],
        slow: Float32Array,
        mean: Float32Array,
        response: Float32Array,
        scale: Float32Array,
        rows: Int8Array,
    ) -> None:
        """Bring to zero mean and whole counts, and transpose."""
        ...


def clean(
    gulps: Iterable[Gulp],
    room: Room,
    baseline: int,
    *,
    mask: bool = True,
    zapped: BoolArray | None = None,
    ahead: bool = True,
) -> Iterator[CleanGulp]:
    """Normalise, mask and quantise a stream.

    Parameters
    ----------
    gulps
        Gulps in time order, all of one length, a multiple of `TILE`.
    room
        What of the past, and of what follows the data, is needed.
    baseline
        Window of the running median in samples; 0 leaves the baseline alone.
    mask
        Whether to leave out channels that differ from their neighbours; dead channels
        and what is not a number are always left out.
    zapped
        Channels that are left out whatever they hold, shape (nchans,). Whoever gave it may
        change it: the next gulp heeds it.
    ahead
        Whether a gulp waits for the one behind it, which tells its level at the end better.

    Yields
    ------
    clean
        One clean gulp per gulp. Behind the last one, and unless gulps are not waited for also
        behind one with a gap after it, come some of nothing, see `CleanGulp.is_beyond`: what
        was sweeping through the band when the data ended arrives in them.
    """
    from . import fast

    return clean_by(fast, gulps, Wanted(room, baseline, mask, zapped), ahead=ahead)


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """What cleaning is to do; see `clean`."""

    room: Room
    baseline: int
    mask: bool = True
    zapped: BoolArray | None = None


def clean_by(
    arithmetic: Arithmetic, gulps: Iterable[Gulp], wanted: Wanted, *, ahead: bool = True
) -> Iterator[CleanGulp]:
    """Clean with an arithmetic of choice; see `clean`."""
    cleaner = _Cleaner(arithmetic, wanted)
    prepared = _prepared(arithmetic, gulps)
    if ahead:
        # a loop would hold the raw gulps of its last turn while the next one is read
        yield from chain.from_iterable(map(cleaner.follow, _with_neighbours(prepared)))
    else:
        yield from map(cleaner.clean, _with_past(prepared))
    yield from cleaner.beyond(sys.maxsize)


class _Cleaner:
    """What passes from gulp to gulp: the slow part, the verdict on channels, the past."""

    def __init__(self, arithmetic: Arithmetic, wanted: Wanted) -> None:
        self._arithmetic = arithmetic
        self._wanted = wanted
        self._follower = Follower(arithmetic, wanted.baseline)
        self._last: Judgement | None = None
        self._reel: Reel | None = None
        self._latest: CleanGulp | None = None

    def follow(self, neighbours: _Neighbours) -> Iterator[CleanGulp]:
        """Clean the gulp in the middle; what swept into a gap in front of it comes first."""
        yield from self.beyond(neighbours[1][0].start)
        cleaned = self.clean(neighbours)
        del neighbours  # raw gulps are large
        yield cleaned

    def beyond(self, until: int) -> Iterator[CleanGulp]:
        """Give gulps of nothing behind the last one, as far as its sweeps reach."""
        if self._latest is None or self._reel is None:
            return
        latest, nsamples, room = self._latest, len(self._latest.valid), self._wanted.room
        for start in range(latest.stop, min(latest.stop + room.reach, until), nsamples):
            if start - latest.stop < room.past + nsamples:
                self._reel.advance(start)[:] = 0
            # else there is nothing in its past either, as in the one before
            yield CleanGulp(
                start=start,
                window=self._reel.window,
                good=latest.good,
                valid=np.zeros(nsamples, np.bool_),
                first=latest.last,
                last=latest.last,
            )

    def clean(self, neighbours: _Neighbours) -> CleanGulp:
        """Clean the gulp in the middle."""
        before, (gulp, sky), after = neighbours
        slow = self._follower.follow(sky, before, after)
        judged = self._judge(sky, slow)
        MASKED_CHANNELS.set(int(np.count_nonzero(~judged.good)))
        self._reel = self._reel or Reel(self._wanted.room, sky.spectra.shape)
        rows = self._reel.advance(gulp.start)
        self._arithmetic.quantise(
            sky.spectra, slow.series, judged.mean, slow.response, judged.scale, rows
        )
        cleaned = CleanGulp(
            start=gulp.start,
            window=self._reel.window,
            good=judged.good,
            valid=sky.valid if judged.good.any() else np.zeros_like(sky.valid),
            first=gulp.first,
            last=gulp.last,
            missing=gulp.missing,
            quiet=gulp.quiet,
            shed=gulp.shed,
        )
        self._latest = replace(cleaned, window=np.empty((0, 0), np.int8))
        return cleaned

    def _judge(self, sky: Stretch, slow: Baseline) -> Judgement:
        # A short piece at the edge of a gap is judged by the gulp before it.
        if self._last is None or np.count_nonzero(sky.valid) >= len(sky.valid) // 8:
            self._last = Judgement.of(self._arithmetic, sky.spectra, slow, self._wanted.mask)
        zapped = self._wanted.zapped
        if zapped is None or not zapped.any():
            return self._last
        return replace(self._last, good=self._last.good & ~zapped)


def _prepared(arithmetic: Arithmetic, gulps: Iterable[Gulp]) -> Iterator[tuple[Gulp, Stretch]]:
    """Give gulps with their spectra as they are computed with."""
    for gulp in gulps:
        if len(gulp.spectra) % TILE:
            raise ValueError(f"a gulp of {len(gulp.spectra)} samples is not made of whole tiles")
        spectra = _numbers(gulp.spectra)
        yield gulp, Stretch(spectra, gulp.valid & ~arithmetic.dropped(spectra))


def _with_neighbours(items: Iterable[tuple[Gulp, Stretch]]) -> Iterator[_Neighbours]:
    """Give every gulp between those beside it."""
    before: Stretch | None = None
    held: tuple[Gulp, Stretch] | None = None
    for item in items:
        if held is not None:
            joins = held[0].stop == item[0].start
            yield before, held, item[1] if joins else None
            before = held[1] if joins else None
        held = item
    if held is not None:
        yield before, held, None


def _with_past(items: Iterable[tuple[Gulp, Stretch]]) -> Iterator[_Neighbours]:
    """Give every gulp at once, with the one before it."""
    held: tuple[Gulp, Stretch] | None = None
    for item in items:
        before = held[1] if held is not None and held[0].stop == item[0].start else None
        yield before, item, None
        held = item


def _numbers(spectra: NDArray[np.generic]) -> NDArray[np.generic]:
    """Give spectra, in rows without holes, of a number type that is compiled for."""
    dtype = spectra.dtype if spectra.dtype in COMPILED else np.dtype(np.float32)
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(spectra, dtype)
