"""The slow part of the band's level.

The running median of the band mean does not see what is shorter than half its window,
whatever its DM. Near a step it leans to the other side; there the median of the window
before or after is taken, whichever is closer to the level around the sample. So gain
steps are followed at once.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from ..data import BoolArray, Float32Array
from .moments import FEWEST_SAMPLES, sampled_moments
from .plain import BIN, GROUP

#: What is around a sample reaches so many samples to either side.
NEAR = 32

#: The median is taken of groups of samples if the window holds as many of them.
FEWEST_GROUPS = 16

#: Gain changes all channels alike: no channel follows the band's level more than this.
MOST_RESPONSE = 1.2

#: A channel fits the reference if it is off by no more, in units of its noise, and its variance
#: differs by no more than this factor.
MOST_OFFSET = 0.25
MOST_VARIANCE = 2.0

#: A reference is kept while no more than this part of the channels does not fit it, for so many
#: gulps after its own.
MOST_ODD = 0.05
KEPT = 15

#: A slow part smaller than this, in units of a channel's noise, is made of rounding errors.
TINY = 1e-5

if TYPE_CHECKING:
    from . import Arithmetic


@dataclass(frozen=True)
class Baseline:
    """How the level changes: by ``response * series``.

    Parameters
    ----------
    series
        Shape (nsamples,), of zero mean; NaN where a spectrum is not valid.
    response
        How far each channel follows, in units of the input, shape (nchans,).
    peaks
        The largest deviation of `BIN` samples of each channel, in units of their noise,
        shape (nchans,).
    """

    series: Float32Array
    response: Float32Array
    peaks: Float32Array

    def groups(self) -> NDArray[np.int64]:
        """First sample of each group of `GROUP` spectra that are not all invalid."""
        some = np.isfinite(self.series).reshape(-1, GROUP).any(axis=1)
        return GROUP * np.flatnonzero(some)


@dataclass(frozen=True)
class Reference:
    """What the band's level is measured by: mean and noise of each channel at some time.

    It is kept as long as it fits, since what a gulp sums up by it serves its neighbours too.

    Parameters
    ----------
    mean
        Shape (nchans,).
    inverse
        One over the noise, 0 for a channel without any, same shape.
    """

    mean: Float32Array
    inverse: Float32Array

    @classmethod
    def of(cls, arithmetic: "Arithmetic", gulp: "Stretch") -> Self:
        """Measure a gulp."""
        mean, std = sampled_moments(arithmetic, gulp.spectra, gulp.still)
        return cls(mean, np.where(std > 0, 1 / np.where(std > 0, std, 1), 0).astype(np.float32))

    @property
    def nchans(self) -> int:
        """Channels that have noise."""
        return int(np.count_nonzero(self.inverse))


@dataclass
class Stretch:
    """Spectra, and which of them carry signal."""

    spectra: NDArray[np.generic]
    valid: BoolArray
    _sums: tuple[Reference, Float32Array, Float32Array] | None = None

    @property
    def still(self) -> Baseline:
        """A level that does not change."""
        series = np.where(self.valid, 0, np.nan).astype(np.float32)
        return Baseline(series, *np.zeros((2, self.spectra.shape[1]), np.float32))

    def part(self, channels: BoolArray) -> "Stretch":
        """Give some of its channels."""
        return Stretch(np.ascontiguousarray(self.spectra[:, channels]), self.valid)

    def varies(self) -> BoolArray:
        """Tell channels that seem to have noise, from a few samples."""
        some = np.flatnonzero(self.valid)
        rows = self.spectra[some[:: max(len(some) // FEWEST_SAMPLES, 1)]]
        return np.asarray(np.fmax.reduce(rows) > np.fmin.reduce(rows))

    def sums(
        self, arithmetic: "Arithmetic", reference: Reference
    ) -> tuple[Float32Array, Float32Array]:
        """Give `plain.band_sums`, which are kept for the next who asks."""
        if self._sums is None or self._sums[0] is not reference:
            series = self.still.series
            sums = arithmetic.band_sums(self.spectra, series, reference.mean, reference.inverse)
            self._sums = reference, *sums
        return self._sums[1:]


@dataclass(frozen=True)
class Bins:
    """A gulp summed up in bins.

    Parameters
    ----------
    sums
        Deviations in units of the noise, of zero mean, shape (nsamples / BIN, nchans).
    inverse
        One over that noise, shape (nchans,).
    offset, variance
        What the channels are off the reference by, and their variance, in its units.
    """

    sums: Float32Array
    inverse: Float32Array
    offset: Float32Array
    variance: Float32Array

    @classmethod
    def of(cls, arithmetic: "Arithmetic", gulp: Stretch, reference: Reference) -> Self:
        """Sum up."""
        counts = gulp.valid.reshape(-1, BIN).sum(axis=1, dtype=np.float32)
        _, sums = gulp.sums(arithmetic, reference)
        offset = sums.sum(axis=0) / counts.sum()
        sums = sums - counts[:, None] * offset
        # differences tell the noise, whatever is slow
        squares = np.square(np.diff(sums, axis=0)).sum(axis=0, dtype=np.float32)
        return cls(sums, reference.inverse, offset, squares / np.float32(2 * counts.sum()))

    def odd(self, before: "Bins") -> BoolArray:
        """Tell channels whose level or noise is no longer what it was."""
        odd = np.abs(self.offset - before.offset) > MOST_OFFSET
        odd |= self.variance > MOST_VARIANCE * before.variance
        odd |= MOST_VARIANCE * self.variance < before.variance
        return np.asarray(odd | (self.inverse == 0))

    def replaced(self, channels: BoolArray, others: "Bins") -> "Bins":
        """Put the sums of some channels, measured by themselves, in the place of its own."""
        sums, inverse = self.sums.copy(), self.inverse.copy()
        sums[:, channels], inverse[channels] = others.sums, others.inverse
        return replace(self, sums=sums, inverse=inverse)


class Follower:
    """Follows the slow part of the level from gulp to gulp.

    Parameters
    ----------
    window
        Length of the running median in samples; with 0 there is no slow part.
    """

    def __init__(self, arithmetic: "Arithmetic", window: int) -> None:
        self._arithmetic = arithmetic
        self._window = window
        self._known: tuple[Reference, Bins] | None = None
        self._age = 0

    def follow(self, gulp: Stretch, before: Stretch | None, after: Stretch | None) -> Baseline:
        """Find the slow part of a gulp and how far each channel follows it.

        Parameters
        ----------
        before, after
            The gulps beside it where the stream goes on without a gap: they tell on which
            side of a step its first and last samples are. Without them it is mirrored.
        """
        still = gulp.still
        if np.count_nonzero(gulp.valid) < FEWEST_SAMPLES:
            return still
        reference, bins = self._measured(gulp)
        if not reference.nchans:
            return still
        peaks = np.abs(bins.sums).max(axis=0) * np.float32(BIN**-0.5)
        if not self._window:
            return replace(still, peaks=peaks)
        slow = still.series
        slow[gulp.valid] = self._level(reference, gulp, before, after)
        slow -= np.float32(np.nanmean(slow, dtype=np.float64))
        unit = np.where(bins.inverse > 0, bins.inverse, np.float32(1))
        response = np.divide(_response(slow, bins.sums), unit, dtype=np.float32)
        return Baseline(slow, response, peaks)

    def _measured(self, gulp: Stretch) -> tuple[Reference, Bins]:
        """Give the gulp's bins by the reference that there is, if it fits, or by a new one.

        A few channels that it does not fit are measured by themselves.
        """
        if self._known is not None and self._age < KEPT:
            self._age += 1
            reference, first = self._known
            bins = Bins.of(self._arithmetic, gulp, reference)
            odd = bins.odd(first) & gulp.varies()
            if not odd.any():
                return reference, bins
            if np.count_nonzero(odd) <= MOST_ODD * reference.nchans:
                part = gulp.part(odd)
                own = Reference.of(self._arithmetic, part)
                return reference, bins.replaced(odd, Bins.of(self._arithmetic, part, own))
        reference, self._age = Reference.of(self._arithmetic, gulp), 0
        self._known = reference, Bins.of(self._arithmetic, gulp, reference)
        return self._known

    def _level(
        self, reference: Reference, gulp: Stretch, before: Stretch | None, after: Stretch | None
    ) -> Float32Array:
        """Give the level around each valid sample, in units of the channels' noise."""
        reach = min(-(-self._window // BIN) * BIN, len(gulp.valid))

        def part(stretch: Stretch | None, where: slice) -> Float32Array:
            if stretch is None:
                return np.empty(0, np.float32)
            band, _ = stretch.sums(self._arithmetic, reference)
            return band[where][stretch.valid[where]]

        first, last = part(before, slice(-reach, None)), part(after, slice(None, reach))
        series = np.concatenate([first, part(gulp, slice(None)), last])
        series /= np.float32(reference.nchans)
        levels = _levels(self._arithmetic, series, min(self._window, len(series)))
        return levels[len(first) : len(series) - len(last)]


def _levels(arithmetic: "Arithmetic", series: Float32Array, window: int) -> Float32Array:
    """Give the level of a series: the median around, before or after each sample.

    In a long window it is that of the means of groups, which is as good and quicker.
    """
    nsamples, size = len(series), GROUP if window >= FEWEST_GROUPS * GROUP else 1
    short = np.pad(series, (0, -nsamples % size), mode="symmetric").reshape(-1, size).mean(axis=1)
    around = arithmetic.running_median(short, min(window // size, len(short)) | 1)
    padded = np.pad(around, window // size // 2, mode="edge")
    choices = np.stack([around, padded[: len(short)], padded[len(padded) - len(short) :]])
    choices = np.repeat(choices, size, axis=1)[:, :nsamples]
    total = np.cumsum(np.pad(series, (NEAR + 1, NEAR), mode="symmetric"), dtype=np.float64)
    near = (total[2 * NEAR + 1 :] - total[: -2 * NEAR - 1]) / (2 * NEAR + 1)
    distance = np.abs(choices - near.astype(np.float32))
    # Of two as close the first, whichever way they were rounded: few bits have many ties.
    distance += TINY * np.arange(3, dtype=np.float32)[:, None]
    return np.asarray(np.take_along_axis(choices, distance.argmin(axis=0)[None, :], axis=0)[0])


def _response(slow: Float32Array, bins: Float32Array) -> Float32Array:
    """Regress channels on the slow part, both in bins: a step inside one hardly matters."""
    valid = np.isfinite(slow).reshape(-1, BIN).sum(axis=1)
    total = np.nansum(slow.reshape(-1, BIN), axis=1, dtype=np.float64)
    mean = total / np.maximum(valid, 1)
    power = float((total * mean).sum())
    if power < TINY**2 * valid.sum():
        return np.zeros(bins.shape[1], np.float32)
    # not BLAS, whose threads would wait for each other beside the search
    response = np.einsum("b,bc->c", mean, bins) / power
    return np.asarray(np.clip(response, 0, MOST_RESPONSE), np.float32)
