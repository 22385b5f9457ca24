"""Mean and noise of channels without their outliers, and which channels to use."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from ..data import BoolArray, Float32Array
from .plain import CLIP_SIGMA, GROUP, HUGE, SIGMA, kept_sums

if TYPE_CHECKING:
    from . import Arithmetic
    from .baseline import Baseline

#: Noise left by clipping unit Gaussian noise at CLIP_SIGMA; what we measure is divided by it.
CLIPPED_STD = 0.99946

#: What is an outlier is settled on about this many spectra.
SAMPLED = 2048

#: Clipping is repeated until nothing changes, but not more often.
ITERATIONS = 10

#: A channel is an outlier if it differs from its neighbours by this many robust deviations ...
OUTLIER_SIGMA = 6.0

#: ... and by at least this much in noise (relative), in correlation, in the share of its
#: samples that clipping left out, or in its largest bin (absolute), since a bandpass has
#: real structure and few samples scatter.
OUTLIER_STD = 0.25
OUTLIER_CORRELATION = 0.1
OUTLIER_BURSTS = 0.01
OUTLIER_PEAK = 2.0

#: Fewer good samples than this tell nothing about a channel.
FEWEST_SAMPLES = 64

#: Fewer good channels than this have no neighbours to differ from.
FEWEST_CHANNELS = 8

#: Deviations of each channel from ``centre`` within ``reach``, as `plain.trimmed_sums`.
type Sums = Callable[[Float32Array, Float32Array], NDArray[np.float64]]


@dataclass(frozen=True)
class Judgement:
    """Mean and noise of each channel, and whether to use it; shapes (nchans,)."""

    mean: Float32Array
    std: Float32Array
    good: BoolArray

    @property
    def scale(self) -> Float32Array:
        """Counts per unit of the input; 0 for a channel that is left out."""
        std = np.where(self.good, self.std, 1)
        return np.where(self.good, SIGMA / std, 0).astype(np.float32)

    @classmethod
    def of(
        cls,
        arithmetic: "Arithmetic",
        spectra: NDArray[np.generic],
        baseline: "Baseline",
        mask: bool,
    ) -> Self:
        """Judge the channels of a gulp, its baseline taken off."""
        centre, noise = sampled_moments(arithmetic, spectra, baseline)
        sums = _sums(arithmetic, spectra, baseline, baseline.groups())
        count, first, second, lagged = sums(centre, _reach(noise))
        count = np.maximum(count, 1)
        shift = first / count
        variance = np.maximum(second / count - np.square(shift), 0)
        mean = centre + shift
        std = (np.sqrt(variance) / CLIPPED_STD).astype(np.float32)
        good = (count >= FEWEST_SAMPLES) & (noise > 0) & (std > 1e-6 * np.abs(mean))
        # What is left where the two cancel is rounding, not noise.
        good &= variance > 1e-3 * np.square(shift)
        if mask and np.count_nonzero(good) >= FEWEST_CHANNELS:

            def stands_out(values: NDArray[np.floating], least: float) -> BoolArray:
                return _outliers(arithmetic, values, good, least)

            good &= ~stands_out(np.log(np.where(good, std, 1)), OUTLIER_STD)
            # White noise gives 0, a carrier that goes on and off gives more. Pulses
            # raise it in all channels alike, which does not matter.
            covariance = lagged / count - np.square(shift)
            correlation = covariance / np.where(good, variance, 1)
            good &= ~stands_out(correlation, OUTLIER_CORRELATION)
            # Interference that comes in bursts is what clipping leaves out.
            bursts = 1 - count / max(float(count.max()), 1)
            good &= ~stands_out(bursts, OUTLIER_BURSTS)
            # It is rare, but a pulse shows in all channels in turn, whatever its DM.
            good &= ~stands_out(baseline.peaks, OUTLIER_PEAK)
        return cls(mean.astype(np.float32), std, good)


def sampled_moments(
    arithmetic: "Arithmetic", spectra: NDArray[np.generic], baseline: "Baseline"
) -> tuple[Float32Array, Float32Array]:
    """Clipped moments of a sample of the spectra; see `settle`."""
    starts = baseline.groups()
    starts = starts[:: max(1, len(starts) * GROUP // SAMPLED)].copy()
    return settle(_sums(arithmetic, spectra, baseline, starts), spectra.shape[1])


def _sums(
    arithmetic: "Arithmetic",
    spectra: NDArray[np.generic],
    baseline: "Baseline",
    starts: NDArray[np.int64],
) -> Sums:
    slow, response = baseline.series, baseline.response
    return lambda centre, reach: arithmetic.trimmed_sums(
        spectra, starts, slow, centre, response, reach
    )


def settle(sums: Sums, nchans: int) -> tuple[Float32Array, Float32Array]:
    """Repeat the clipping at `CLIP_SIGMA` until it leaves out no other sample.

    Returns
    -------
    mean, std
        Shape (nchans,); the noise is that of the samples kept, and 0 where they hardly
        have more than one value.
    """
    centre = np.zeros(nchans, np.float32)
    reach = np.full(nchans, HUGE, np.float32)
    kept = np.zeros(nchans)
    settled = np.zeros(nchans, np.bool_)
    for iteration in range(ITERATIONS):
        count, first, second, _ = sums(centre, reach)
        shift = first / np.maximum(count, 1)
        # about the old centre: never less than the noise, whatever is lost in rounding
        spread = np.sqrt(second / np.maximum(count, 1))
        level = centre + shift
        # Where the two cancel, their rounding errors would pose as the noise of zeros.
        centre = np.where(np.abs(level) < 1e-6 * np.abs(shift), 0, level).astype(np.float32)
        if iteration > 0:  # the first round only finds the level
            reach = _reach(spread)
        # A spread about a centre far off kept more than it should: it does not settle anything.
        before, settled = settled, 2 * np.abs(shift) <= spread
        if iteration > 1 and (before & settled).all() and np.array_equal(count, kept):
            break
        kept = count
    noisy = settled & (spread > 1e-6 * np.abs(centre))
    return centre, np.where(noisy, spread, 0).astype(np.float32)


def clipped_moments(rows: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Mean and standard deviation of each row without its outliers.

    Parameters
    ----------
    rows
        Shape (nrows, nsamples); NaN is left out.

    Returns
    -------
    mean, std
        Shape (nrows,); 0 where there is no sample. The standard deviation is unbiased
        for Gaussian noise.
    """
    mean, std = settle(lambda centre, reach: kept_sums(rows.T - centre, reach), len(rows))
    return mean, std / np.float32(CLIPPED_STD)


def _reach(std: NDArray[np.floating]) -> Float32Array:
    return np.asarray(np.minimum(CLIP_SIGMA * std, HUGE), np.float32)


def _outliers(
    arithmetic: "Arithmetic", values: NDArray[np.floating], good: BoolArray, least: float
) -> BoolArray:
    """Find channels whose value stands out from the running median of their neighbours."""
    channels = np.flatnonzero(good)
    v = values[channels].astype(np.float32)
    radius = min(max(len(v) // 32, 4), 16)
    excess = v - arithmetic.running_median(v, 2 * radius + 1)
    robust_std = 1.4826 * float(np.median(np.abs(excess)))
    out = np.zeros(len(values), np.bool_)
    out[channels] = np.abs(excess) > max(OUTLIER_SIGMA * robust_std, least)
    return out
