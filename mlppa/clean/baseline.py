"""The slow part of the band's level.

The running median of the band mean does not see what is shorter than half its window,
whatever its DM. Near a step it leans to the other side; there the median of the window
before or after is taken, whichever is closer to the level around the sample. So gain
steps are followed at once.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..data import BoolArray, Float32Array
from .moments import FEWEST_SAMPLES, sampled_moments
from .plain import BIN, GROUP

#: What is around a sample reaches so many samples to either side.
NEAR = 32

#: Gain changes all channels alike: no channel follows the band's level more than this.
MOST_RESPONSE = 1.2

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
class Stretch:
    """Spectra, and which of them carry signal."""

    spectra: NDArray[np.generic]
    valid: BoolArray

    def part(self, where: slice) -> "Stretch":
        """Give some of them."""
        return Stretch(self.spectra[where], self.valid[where])


def follow(
    arithmetic: "Arithmetic",
    gulp: Stretch,
    before: Stretch | None,
    after: Stretch | None,
    window: int,
) -> Baseline:
    """Find the slow part of a gulp and how far each channel follows it.

    Parameters
    ----------
    before, after
        The gulps beside it where the stream goes on without a gap: they tell on which
        side of a step its first and last samples are. Without them it is mirrored.
    window
        Length of the running median in samples; with 0 there is no slow part.
    """
    spectra, valid = gulp.spectra, gulp.valid
    zero = np.where(valid, 0, np.nan).astype(np.float32)
    still = Baseline(zero, *np.zeros((2, spectra.shape[1]), np.float32))
    if np.count_nonzero(valid) < FEWEST_SAMPLES:
        return still
    mean, std = sampled_moments(arithmetic, spectra, still)
    nchans = np.count_nonzero(std)
    if not nchans:
        return still
    inverse = np.where(std > 0, 1 / np.where(std > 0, std, 1), 0).astype(np.float32)
    band, bins = arithmetic.band_sums(spectra, zero, mean, inverse)
    peaks = np.abs(bins).max(axis=0) * np.float32(BIN**-0.5)
    if not window:
        return replace(still, peaks=peaks)
    reach = min(-(-window // BIN) * BIN, len(valid))

    def level(beside: Stretch | None, where: slice) -> Float32Array:
        if beside is None:
            return band[:0]
        part = beside.part(where)
        still = np.where(part.valid, 0, np.nan).astype(np.float32)
        return arithmetic.band_sums(part.spectra, still, mean, inverse)[0][part.valid]

    sides = level(before, slice(-reach, None)), level(after, slice(None, reach))
    series = np.concatenate([sides[0], band[valid], sides[1]], dtype=np.float32) / np.float32(
        nchans
    )
    levels = _levels(arithmetic, series, min(window, len(series)) | 1)
    levels = levels[len(sides[0]) : len(series) - len(sides[1])]
    slow = zero.copy()
    slow[valid] = levels - levels.mean()
    return Baseline(slow, std * _response(slow, bins), peaks)


def _levels(arithmetic: "Arithmetic", series: Float32Array, window: int) -> Float32Array:
    """Give the level of a series: the median around, before or after each sample."""
    around = arithmetic.running_median(series, window)
    padded = np.pad(around, window // 2, mode="edge")
    choices = np.stack([around, padded[: len(series)], padded[len(padded) - len(series) :]])
    total = np.cumsum(np.pad(series, (NEAR + 1, NEAR), mode="symmetric"), dtype=np.float64)
    near = (total[2 * NEAR + 1 :] - total[: -2 * NEAR - 1]) / (2 * NEAR + 1)
    distance = np.abs(choices - near.astype(np.float32))
    # Of two as close the first, whichever way they were rounded: few bits have many ties.
    closest = (distance + TINY * np.arange(3, dtype=np.float32)[:, None]).argmin(axis=0)
    return np.asarray(np.take_along_axis(choices, closest[None, :], axis=0)[0])


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
