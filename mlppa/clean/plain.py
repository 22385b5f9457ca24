"""The arithmetic of cleaning in plain NumPy: what `fast` must give, to the rounding.

Shapes: spectra (nsamples, nchans) of any real number type; what belongs to a channel
(nchans,), to a sample (nsamples,). A sample is expected at ``mean + response * slow``;
``slow`` is not a number where a spectrum is not valid, so that none of its samples
counts anywhere.
"""

import numpy as np
from numpy.typing import NDArray

from ..data import BoolArray, Float32Array, Int8Array

#: Noise of a clean sample in counts. Rounding to whole counts adds 1/(6 SIGMA^2) = 1 % to
#: the variance, 0.5 % to the noise.
SIGMA = 4.0

#: 2**32 over the golden ratio; see `dither`.
GOLDEN = 2654435769

#: A moment is taken over samples within this many standard deviations of the mean.
CLIP_SIGMA = 4.0

#: A channel counts for the level of the band within this: a bright pulse lifts few channels
#: at a time, but for as long as its sweep lasts, and must not pass for a change of gain.
BAND_CLIP_SIGMA = 1.5

#: Largest clean sample in counts.
MOST_COUNTS = 127

#: What is larger than this is no number.
HUGE = 1e18

#: Spectra are taken in groups of this many,
GROUP = 8

#: ... and the response to the baseline is measured on the sums of this many.
BIN = 32

#: ... and the length of a gulp is a multiple of this: some cache lines of int8.
TILE = 256

#: Below this many channels an all-equal spectrum happens by chance in 1-bit data.
FEWEST_CHANNELS_FOR_DROPS = 24


def dropped(spectra: NDArray[np.generic]) -> BoolArray:
    """Find spectra without sky: no number in them, or the same one in every channel."""
    empty = ~np.isfinite(spectra).any(axis=1)
    if spectra.shape[1] < FEWEST_CHANNELS_FOR_DROPS:
        return np.asarray(empty)
    return np.asarray(empty | (spectra == spectra[:, :1]).all(axis=1))


@np.errstate(invalid="ignore", over="ignore")
def trimmed_sums(
    spectra: NDArray[np.generic],
    starts: NDArray[np.int64],
    slow: Float32Array,
    centre: Float32Array,
    response: Float32Array,
    reach: Float32Array,
) -> NDArray[np.float64]:
    """Sum up each channel's deviations from ``centre + response * slow``.

    Parameters
    ----------
    starts
        First sample of each group of `GROUP` spectra to use.
    reach
        Larger deviations are left out.

    Returns
    -------
    sums
        Shape (4, nchans): number of deviations, their sum, the sum of their squares, and
        of their products with the deviation of the spectrum before.
    """
    rows = (starts[:, None] + np.arange(GROUP)).ravel()
    deviation = spectra[rows].astype(np.float32) - centre - response * slow[rows, None]
    return kept_sums(deviation, reach)


def kept_sums(deviation: Float32Array, reach: Float32Array) -> NDArray[np.float64]:
    """Sum up deviations, shape (nsamples, nchans), within reach; see `trimmed_sums`."""
    kept = np.abs(deviation) <= reach
    d = np.where(kept, deviation, np.float32(0)).astype(np.float64)
    lagged = (d[1:] * d[:-1]).sum(axis=0)
    return np.stack([kept.sum(axis=0), d.sum(axis=0), (d * d).sum(axis=0), lagged])


@np.errstate(invalid="ignore", over="ignore")
def band_sums(
    spectra: NDArray[np.generic], slow: Float32Array, mean: Float32Array, inverse: Float32Array
) -> tuple[Float32Array, Float32Array]:
    """Sum up deviations in units of ``1 / inverse``.

    Returns
    -------
    band
        Sums over channels, each clipped at `BAND_CLIP_SIGMA`, shape (nsamples,).
    bins
        Sums over `BIN` samples, clipped at `CLIP_SIGMA`, shape (nsamples / BIN, nchans).
    """
    z = (spectra.astype(np.float32) - mean) * inverse + slow[:, None]
    z = np.where(np.abs(z) <= HUGE, z, np.float32(0))
    band = np.clip(z, -BAND_CLIP_SIGMA, BAND_CLIP_SIGMA).sum(axis=1)
    z = np.clip(z, -CLIP_SIGMA, CLIP_SIGMA)
    return band, z.reshape(-1, BIN, z.shape[1]).sum(axis=1)


def running_median(series: Float32Array, window: int) -> Float32Array:
    """Take the median of a window around each sample; beyond its ends a series is mirrored.

    Parameters
    ----------
    series
        At least ``window - 1`` numbers.
    window
        Odd.
    """
    from scipy.ndimage import median_filter

    return np.asarray(median_filter(series, window, mode="reflect"), np.float32)


@np.errstate(invalid="ignore", over="ignore")
def quantise(
    spectra: NDArray[np.generic],
    slow: Float32Array,
    mean: Float32Array,
    response: Float32Array,
    scale: Float32Array,
    rows: Int8Array,
) -> None:
    """Bring channels to zero mean and whole counts, 0 where there is no signal; transpose.

    Input of few bits has few values, which would all be rounded the same way: a channel
    off by a quarter of a count, all of them together by several sigma of a long boxcar.
    So a `dither` goes before rounding: it is right on average, whatever the values.

    Parameters
    ----------
    rows
        Out: shape (nchans, nsamples).
    """
    z = (spectra.astype(np.float32) - mean) * scale - (response * scale) * slow[:, None]
    z = np.where(np.abs(z) <= HUGE, z, np.float32(0))
    rows[:] = np.rint(np.clip(z + dither(*z.shape), -MOST_COUNTS, MOST_COUNTS)).T


def dither(nsamples: int, nchans: int) -> Float32Array:
    """Give fixed numbers within half a count, as good as random in time and channel.

    The fractions of squares of golden multiples: even, as Weyl's theorem has it, while
    the sums of neighbours that the octaves are made of still take all values.
    """
    steps = np.arange(nsamples)[:, None] + np.arange(nchans) ** 2
    phase = (steps * GOLDEN).astype(np.uint32)
    return (phase * phase).view(np.int32).astype(np.float32) * np.float32(2.0**-32)
