"""Dedispersion with the boxcar screen fused in: only block maxima come out.

Rows refer to the arrival at the *bottom* of the band: output t of a row needs no
sample after t, whatever its DM. So all rows advance together with the data, nothing
is carried but past samples, and the end of a file needs no care of its own.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..data import Float32Array, Int8Array
from ..dispersion import channel_shape, dm_per_sample, smear_s

#: Outputs of a screen are the maxima over this many samples (of its octave).
BLOCK = 32


@dataclass(frozen=True, slots=True, eq=False)
class Octave:
    """The trials of one time resolution.

    Parameters
    ----------
    index
        Samples are averaged by ``2**index``.
    sweeps
        Sweep of each row in samples of the octave, ascending, shape (nrows,).
    delays
        Delay of each channel behind the top one, same unit, shape (nrows, nchans).
    widths
        Boxcars in samples of the octave, ascending, shape (nwidths,).
    """

    index: int
    sweeps: NDArray[np.int64]
    delays: NDArray[np.int32]
    widths: NDArray[np.int64]

    @property
    def halo(self) -> int:
        """Past samples that the first output needs."""
        return int(self.sweeps[-1] + self.widths[-1] - 1)


@dataclass(frozen=True, slots=True, eq=False)
class BlockMaxima:
    """What a screen leaves of the DM-time plane, each of shape (nrows, nblocks).

    ``score`` is the highest boxcar sum divided by sqrt(width), in counts; ``width``
    the index of that boxcar in `Octave.widths`.
    """

    score: Float32Array
    width: NDArray[np.uint8]


class Kernel(Protocol):
    """Dedisperses and screens: the one part that differs between processors.

    ``rows`` is int8 (nchans, halo + n), n a multiple of `BLOCK`. Boxcars that end
    on one of the last n samples are screened.
    """

    def __call__(self, rows: Int8Array, octave: Octave) -> BlockMaxima:
        """Screen all rows of an octave."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Which DMs and widths to try.

    Parameters
    ----------
    dm_max
        Highest DM in pc cm^-3.
    width_max_s
        Longest boxcar in seconds.
    delays_per_octave
        Time is averaged by 2 when a sweep exceeds this many samples. Fewer is faster
        and loses narrow pulses of high DM.
    smear_tolerance
        Step between rows in units of the smearing inside a channel; never below one
        sample of sweep.
    """

    dm_max: float
    width_max_s: float
    delays_per_octave: int = 4096
    smear_tolerance: float = 1.0


def octaves(grid: Grid, freqs_mhz: NDArray[np.float64], tsamp_s: float) -> tuple[Octave, ...]:
    """Lay out the trials: octave m covers the DMs for which octave m - 1 is too fine."""
    unit_dm = dm_per_sample(freqs_mhz, tsamp_s)
    shape = channel_shape(freqs_mhz)
    plan: list[Octave] = []
    low, index = 0.0, 0
    while not plan or low < grid.dm_max:
        row_dm = unit_dm * 2**index
        high = min(grid.dm_max, grid.delays_per_octave * row_dm)
        sweeps = _sweeps(
            low / row_dm,
            high / row_dm,
            _smear_rows(freqs_mhz, unit_dm, tsamp_s),
            grid.smear_tolerance,
        )
        longest = max(int(grid.width_max_s / (tsamp_s * 2**index)), 1)
        delays = np.floor(np.multiply.outer(sweeps, shape) + 0.5).astype(np.int32)
        plan.append(Octave(index, sweeps, delays, boxcars(longest)))
        low, index = high, index + 1
    return tuple(plan)


def _smear_rows(freqs_mhz: NDArray[np.float64], unit_dm: float, tsamp_s: float) -> float:
    """Smearing inside a channel at mid-band, in samples per sample of sweep."""
    step_mhz = float(np.abs(np.diff(freqs_mhz)).mean())
    return smear_s(unit_dm, float(freqs_mhz.mean()), step_mhz) / tsamp_s


def _sweeps(low: float, high: float, smear: float, tolerance: float) -> NDArray[np.int64]:
    """Rows from ``low`` to past ``high``, spaced by the smearing but at least by 1."""
    sweeps = [int(low)]
    while sweeps[-1] < high:
        step = max(1, int(tolerance * smear * sweeps[-1]))
        sweeps.append(sweeps[-1] + step)
    return np.array(sweeps, np.int64)


def boxcars(longest: int) -> NDArray[np.int64]:
    """Widths 1, 2, 3, 4, 6, 8, 12, ... up to ``longest``: at worst 4 % of S/N between two."""
    powers = 2 ** np.arange(int(np.log2(longest)) + 1)
    ladder = np.concatenate([powers, 3 * powers[:-1]]) if len(powers) > 1 else powers
    return np.unique(ladder[ladder <= longest]).astype(np.int64)
