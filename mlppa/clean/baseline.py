"""The slow part of the band's level.

The running median of the band mean follows a gain step at once and does not see what
is shorter than half its window, whatever its DM.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..data import BoolArray, Float32Array
from .moments import FEWEST_SAMPLES, sampled_moments
from .plain import BIN, GROUP

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
    """

    series: Float32Array
    response: Float32Array

    def groups(self) -> NDArray[np.int64]:
        """First sample of each group of `GROUP` spectra that are not all invalid."""
        some = np.isfinite(self.series).reshape(-1, GROUP).any(axis=1)
        return GROUP * np.flatnonzero(some)


def follow(
    arithmetic: "Arithmetic", spectra: NDArray[np.generic], valid: BoolArray, window: int
) -> Baseline:
    """Find the slow part of a gulp and how far each channel follows it.

    Parameters
    ----------
    valid
        False for spectra that carry no signal, shape (nsamples,).
    window
        Length of the running median in samples; with 0 there is no slow part.
    """
    zero = np.where(valid, 0, np.nan).astype(np.float32)
    still = Baseline(zero, np.zeros(spectra.shape[1], np.float32))
    if not window or np.count_nonzero(valid) < FEWEST_SAMPLES:
        return still
    mean, std = sampled_moments(arithmetic, spectra, still)
    nchans = np.count_nonzero(std)
    if not nchans:
        return still
    inverse = np.where(std > 0, 1 / np.where(std > 0, std, 1), 0).astype(np.float32)
    band, bins = arithmetic.band_sums(spectra, zero, mean, inverse)
    slow = zero.copy()
    series = band[valid] / np.float32(nchans)
    median = arithmetic.running_median(series, min(window, len(series)) | 1)
    slow[valid] = median - median.mean()
    return Baseline(slow, std * _response(slow, bins))


def _response(slow: Float32Array, bins: Float32Array) -> Float32Array:
    """Regress channels on the slow part, both in bins: a step inside one hardly matters."""
    valid = np.isfinite(slow).reshape(-1, BIN).sum(axis=1)
    total = np.nansum(slow.reshape(-1, BIN), axis=1, dtype=np.float64)
    mean = total / np.maximum(valid, 1)
    power = float((total * mean).sum())
    if power < TINY**2 * valid.sum():
        return np.zeros(bins.shape[1], np.float32)
    # not BLAS, whose threads would wait for each other beside the search
    return np.asarray(np.einsum("b,bc->c", mean, bins) / power, np.float32)
