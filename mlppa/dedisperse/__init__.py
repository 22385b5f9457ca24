"""Dedispersion with the boxcar screen fused in: only peaks come out.

Rows refer to the arrival at the *bottom* of the band: output t of a row needs no
sample after t, whatever its DM. So all rows advance together with the data, nothing
is carried but past samples, and the end of a file needs no care of its own.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..data import Float32Array, Int8Array
from ..dispersion import channel_shape, dm_per_sample, smear_s

#: A screen tells one maximum for every GROUP rows and BLOCK samples (of its octave).
GROUP = 4
BLOCK = 64

#: Past samples that boxcars of up to 64 samples need; longer ones are made from sums of 32.
NARROW_HALO = 64

#: Samples by which a kernel's rounding may pass the sweep.
MARGIN = 8

#: Octaves of shorter sweeps save nothing, and each doubles the samples that a gulp must have.
LEAST_DELAYS = 1024


@dataclass(frozen=True, eq=False)
class Octave:
    """The trials of one time resolution.

    Parameters
    ----------
    index
        Samples are averaged by ``2**index``.
    sweeps
        Sweep of each row in samples of the octave, ascending, shape (nrows,).
    shape
        Delay of each channel as a fraction of the sweep, shape (nchans,).
    levels
        Boxcars are 1, 2, 3, 4 and then 3 and 4 times 2**k for k up to this.
    """

    index: int
    sweeps: NDArray[np.int64]
    shape: NDArray[np.float64]
    levels: int

    @property
    def tile(self) -> int:
        """Outputs come in multiples of so many samples: of blocks, and of the longest boxcars."""
        return max(1024 >> self.index, BLOCK, 1 << self.levels)

    @property
    def past(self) -> int:
        """Past samples of a row that the boxcars at the first output need."""
        return max(self.longest, NARROW_HALO)

    @property
    def halo(self) -> int:
        """Past samples of the data that the first output needs."""
        return int(self.sweeps[-1]) + self.past + MARGIN

    @property
    def widths(self) -> list[int]:
        """Lengths of all boxcars."""
        return [1, 2, *(m << k for k in range(self.levels + 1) for m in (3, 4))]

    @property
    def longest(self) -> int:
        """Longest boxcar in samples of the octave."""
        return 4 << self.levels

    @cached_property
    def group_sweeps(self) -> NDArray[np.int64]:
        """Sweep in the middle of every group of rows, shape (ngroups,)."""
        return (self.sweeps[::GROUP] + self._group_ends) // 2

    @cached_property
    def group_spans(self) -> NDArray[np.int64]:
        """Sweep from the first to the last row of every group, shape (ngroups,)."""
        return self._group_ends - self.sweeps[::GROUP]

    @property
    def _group_ends(self) -> NDArray[np.int64]:
        ends = np.arange(0, len(self.sweeps), GROUP) + GROUP - 1
        return self.sweeps[np.minimum(ends, len(self.sweeps) - 1)]


@dataclass(frozen=True, slots=True, eq=False)
class Peaks:
    """What a screen leaves of the DM-time plane, arrays of shape (npeaks,).

    Parameters
    ----------
    group, block
        Which group of rows, and which block of outputs.
    score
        Highest boxcar sum divided by the root of the width, in counts.
    level
        Which boxcars: 0 stands for widths of 1 to 4, k for 3 or 4 times 2**k.
    """

    group: NDArray[np.int64]
    block: NDArray[np.int64]
    score: Float32Array
    level: NDArray[np.int64]

    @property
    def width(self) -> NDArray[np.int64]:
        """Width in the middle of the level's, in samples of the octave."""
        return np.where(self.level == 0, 2, 7 * 2**self.level // 2)


class Window(NamedTuple):
    """What is to be screened: the trials of one octave.

    Parameters
    ----------
    rows
        int8 (nchans, halo + n), n a multiple of `Octave.tile`: boxcars that end on one of
        the last n samples are screened (with a lag of MARGIN / 2 samples).
    threshold
        Peaks come out from this score on, in counts.
    """

    rows: Int8Array
    octave: Octave
    threshold: float


class Kernel(Protocol):
    """Dedisperses and screens: the one part that differs between processors.

    Attributes
    ----------
    threads
        How many work on it.
    """

    threads: int

    def __call__(self, windows: Sequence[Window]) -> list[Peaks]:
        """Screen all rows of each window; its peaks in the order of group and block."""
        ...

    def share(self, work: Callable[[slice], None], count: int) -> None:
        """Have so many things worked on, in as many parts as there are threads."""
        ...

    def ahead[T](self, items: Iterator[T]) -> Generator[T]:
        """Give items; each is made while the one before it is worked on, by the same threads."""
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
    smear_per_octave
        ... or when the smearing inside a channel does, since no pulse is narrower there; but
        not for sweeps of less than `LEAST_DELAYS`.
    smear_tolerance
        Step between rows in units of the smearing inside a channel; never below one
        sample of sweep.
    first_octave
        The finest time resolution.
    """

    dm_max: float
    width_max_s: float
    delays_per_octave: int = 4096
    smear_per_octave: float = np.inf
    smear_tolerance: float = 1.0
    first_octave: int = 0


def octaves(grid: Grid, freqs_mhz: NDArray[np.float64], tsamp_s: float) -> tuple[Octave, ...]:
    """Lay out the trials: octave m covers the DMs for which octave m - 1 is too fine."""
    unit_dm = dm_per_sample(freqs_mhz, tsamp_s)
    shape = channel_shape(freqs_mhz)
    smear = _smear_rows(freqs_mhz, unit_dm, tsamp_s)
    delays = min(grid.delays_per_octave, max(grid.smear_per_octave / smear, LEAST_DELAYS))
    plan: list[Octave] = []
    low, index = 0.0, grid.first_octave
    while not plan or low < grid.dm_max:
        row_dm = unit_dm * 2**index
        high = min(grid.dm_max, delays * row_dm)
        sweeps = _sweeps(low / row_dm, high / row_dm, smear, grid.smear_tolerance)
        longest = max(int(grid.width_max_s / (tsamp_s * 2**index)), 4)
        plan.append(Octave(index, sweeps, shape, int(np.log2(longest / 3))))
        low, index = high, index + 1
    return tuple(plan)


def _smear_rows(freqs_mhz: NDArray[np.float64], unit_dm: float, tsamp_s: float) -> float:
    """Smearing inside a channel at mid-band, in samples per sample of sweep."""
    step_mhz = float(np.abs(np.diff(freqs_mhz)).mean())
    return smear_s(unit_dm, float(freqs_mhz.mean()), step_mhz) / tsamp_s


def _sweeps(low: float, high: float, smear: float, tolerance: float) -> NDArray[np.int64]:
    """Rows from ``low`` to past ``high``, spaced by the smearing but at least by 1."""
    sweeps, exact = [int(low)], float(int(low))
    while sweeps[-1] < high:
        exact += max(1.0, tolerance * np.hypot(1.0, smear * exact))
        sweeps.append(round(exact))
    return np.array(sweeps, np.int64)
