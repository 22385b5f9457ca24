"""Raw spectra to int8 rows of equal noise, with what is not sky left out.

Each channel is brought to zero mean and `SIGMA` counts of noise by moments that
ignore outliers, so that neither a bright burst nor interference sets the scale.
Broad-band interference is *not* subtracted sample by sample: such a zero-DM filter
eats pulses of low DM. Only its slow part goes: the running median of the band mean
follows a gain step at once and does not see what is shorter than half its window,
whatever its DM. Short bursts stay; the search has DM 0 among its trials to know them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .data import BoolArray, CleanGulp, Float32Array, Gulp, Int8Array
from .metrics import MASKED_CHANNELS

#: Noise of a clean sample in counts. Rounding to whole counts adds 1/(12 SIGMA^2) = 0.5 %
#: to the variance, 0.26 % to the noise.
SIGMA = 4.0

#: A moment is taken over samples within this many standard deviations of the mean.
CLIP_SIGMA = 4.0

#: Noise left by clipping unit Gaussian noise at CLIP_SIGMA; what we measure is divided by it.
CLIPPED_STD = 0.99946

#: A channel is an outlier if it differs from its neighbours by this many robust deviations ...
OUTLIER_SIGMA = 6.0

#: ... and by at least this much in noise (relative) or in correlation (absolute), since
#: a bandpass has real structure and few samples scatter.
OUTLIER_STD = 0.25
OUTLIER_CORRELATION = 0.1

#: Fewer good samples than this tell nothing about a channel.
FEWEST_SAMPLES = 64

#: Below this many channels an all-equal spectrum happens by chance in 1-bit data.
FEWEST_CHANNELS_FOR_DROPS = 24


def clean(
    gulps: Iterable[Gulp], noctaves: int, baseline: int, *, mask: bool = True
) -> Iterator[CleanGulp]:
    """Normalise, mask and quantise a stream.

    Parameters
    ----------
    gulps
        Gulps in time order, all of one length, a multiple of ``2**(noctaves - 1)``.
    noctaves
        How many time resolutions to make; each is half of the one before.
    baseline
        Window of the running median in samples; 0 leaves the baseline alone.
    mask
        Whether to leave out channels that differ from their neighbours; dead channels
        and what is not a number are always left out.

    Yields
    ------
    clean
        One clean gulp per gulp.
    """
    last: _Moments | None = None
    for gulp in gulps:
        rows = np.ascontiguousarray(gulp.spectra.T, dtype=np.float32)
        rows[~np.isfinite(rows)] = np.nan
        valid = gulp.valid & ~_dropped(rows)
        rows[:, ~valid] = np.nan
        if baseline:
            rows = _flatten(rows, valid, baseline)
        # A short piece at the edge of a gap is judged by the gulp before it.
        if last is None or np.count_nonzero(valid) >= len(valid) // 8:
            last = _Moments.of(rows, mask)
        MASKED_CHANNELS.set(int(np.count_nonzero(~last.good)))
        if not last.good.any():
            valid = np.zeros_like(valid)
        octaves = decimate(_quantise(rows, last), noctaves)
        yield CleanGulp(gulp.start, octaves, last.good, valid, gulp.first, gulp.last, gulp.missing)


@dataclass(frozen=True)
class _Moments:
    """Mean and noise of each channel, and whether to use it; shapes (nchans,)."""

    mean: Float32Array
    std: Float32Array
    good: BoolArray

    @classmethod
    def of(cls, rows: Float32Array, mask: bool) -> "_Moments":
        mean, std = clipped_moments(rows)
        enough = np.count_nonzero(np.isfinite(rows), axis=1) >= FEWEST_SAMPLES
        good = enough & (std > 1e-6 * np.maximum(np.abs(mean), 1e-30))
        if mask and np.count_nonzero(good) >= 8:
            good &= ~_outliers(np.log(np.where(good, std, 1)), good, OUTLIER_STD)
            correlation = _lag_correlation(rows, mean, std)
            good &= ~_outliers(correlation, good, OUTLIER_CORRELATION)
        return cls(mean, std, good)


def clipped_moments(rows: Float32Array, iterations: int = 6) -> tuple[Float32Array, Float32Array]:
    """Mean and standard deviation of each row without its outliers.

    Parameters
    ----------
    rows
        Shape (nchans, nsamples); NaN is left out.
    iterations
        How often the clipping is repeated; it stops by itself when nothing changes.

    Returns
    -------
    mean, std
        Shape (nchans,); 0 where there is no sample. The standard deviation is unbiased
        for Gaussian noise.
    """
    use = np.isfinite(rows)
    filled = np.where(use, rows, 0)
    count = np.maximum(np.count_nonzero(use, axis=1), 1)
    for _ in range(iterations):
        # float64: sums of large 32-bit samples lose the noise otherwise
        mean = np.where(use, filled, 0).sum(axis=1, dtype=np.float64) / count
        deviation = np.where(use, filled - mean[:, None], 0)
        std = np.sqrt(np.square(deviation).sum(axis=1, dtype=np.float64) / count)
        keep = use & (np.abs(deviation) <= CLIP_SIGMA * std[:, None])
        kept = np.maximum(np.count_nonzero(keep, axis=1), 1)
        if np.array_equal(kept, count):
            break
        use, count = keep, kept
    return mean.astype(np.float32), (std / CLIPPED_STD).astype(np.float32)


def _flatten(rows: Float32Array, valid: BoolArray, window: int) -> Float32Array:
    """Take the slow part of the band mean off every channel, as far as it follows it."""
    from scipy.ndimage import median_filter

    if np.count_nonzero(valid) < FEWEST_SAMPLES:
        return rows
    mean, std = clipped_moments(rows, iterations=2)
    use = std > 0
    z = (rows[use] - mean[use, None]) / std[use, None]
    z = np.nan_to_num(np.clip(z, -CLIP_SIGMA, CLIP_SIGMA))
    band = z[:, valid].mean(axis=0) if use.any() else np.zeros(np.count_nonzero(valid), np.float32)
    slow = np.zeros(rows.shape[1], np.float32)
    slow[valid] = median_filter(band, min(window, len(band)) | 1, mode="reflect")
    slow[valid] -= slow[valid].mean()
    power = float(np.square(slow).sum())
    if power == 0:
        return rows
    response = np.zeros(len(rows), np.float32)
    response[use] = std[use] * (z @ slow) / power
    return rows - response[:, None] * slow


def _lag_correlation(
    rows: Float32Array, mean: Float32Array, std: Float32Array
) -> NDArray[np.float64]:
    """Correlation of each channel with itself one sample later, outliers clipped.

    White noise gives 0, a carrier that is switched on and off gives more. Bright
    pulses raise it in all channels alike, which `_outliers` does not mind.
    """
    scale = np.where(std > 0, std, 1)[:, None]
    z = np.clip(np.nan_to_num((rows - mean[:, None]) / scale), -CLIP_SIGMA, CLIP_SIGMA)
    pairs = np.count_nonzero(z[:, 1:] * z[:, :-1], axis=1)
    return np.asarray(np.einsum("ct,ct->c", z[:, 1:], z[:, :-1]) / np.maximum(pairs, 1))


def _outliers(values: NDArray[np.floating], good: BoolArray, least: float) -> BoolArray:
    """Find channels whose value stands out from the running median of their neighbours."""
    channels = np.flatnonzero(good)
    v = values[channels].astype(np.float64)
    radius = min(max(len(v) // 32, 4), 16)
    padded = np.pad(v, radius, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1)
    excess = v - np.median(windows, axis=1)
    robust_std = 1.4826 * np.median(np.abs(excess))
    out = np.zeros(len(values), np.bool_)
    out[channels] = np.abs(excess) > max(OUTLIER_SIGMA * robust_std, least)
    return out


def _dropped(rows: Float32Array) -> BoolArray:
    """Find samples without sky: no number in them, or the same one in every channel."""
    empty = np.isnan(rows).all(axis=0)
    if len(rows) < FEWEST_CHANNELS_FOR_DROPS:
        return np.asarray(empty)
    return np.asarray(empty | (rows == rows[:1]).all(axis=0))


def _quantise(rows: Float32Array, moments: _Moments) -> Int8Array:
    """Bring channels to zero mean and SIGMA counts; no signal and bad channels become 0."""
    scale = np.where(moments.good, SIGMA / np.where(moments.std > 0, moments.std, 1), 0)
    scaled = (rows - moments.mean[:, None]) * scale[:, None].astype(np.float32)
    return np.asarray(np.rint(np.clip(np.nan_to_num(scaled), -127, 127)), np.int8)


def decimate(rows: Int8Array, noctaves: int) -> tuple[Int8Array, ...]:
    """Average rows in time by 1, 2, 4, ...; each octave keeps SIGMA counts of noise.

    Parameters
    ----------
    rows
        int8, shape (nchans, nsamples), nsamples a multiple of ``2**(noctaves - 1)``.
    noctaves
        Number of octaves, the first one being ``rows`` itself.
    """
    octaves = [rows]
    sums = rows.astype(np.int32)
    for octave in range(1, noctaves):
        sums = sums[:, ::2] + sums[:, 1::2]
        scaled = np.rint(sums * np.float32(2.0 ** (-octave / 2)))
        octaves.append(np.clip(scaled, -127, 127).astype(np.int8))
    return tuple(octaves)
