"""What was put into a sky against what was found in it, one to one."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ..data import FilterbankHeader
from ..dispersion import channel_shape, dm_per_sample
from .pulse import Pulse, shape_pulse


class Found(Protocol):
    """A pulse found."""

    @property
    def time_s(self) -> float:
        """Arrival at the centre of the highest channel."""

    @property
    def dm(self) -> float:
        """In pc cm^-3."""

    @property
    def snr(self) -> float:
        """Signal to noise."""


class Measured(Found, Protocol):
    """A pulse found in the data, in all of the band or a part."""

    @property
    def f_lo_mhz(self) -> float | None:
        """Lowest channel that it was measured in; None for all of them."""

    @property
    def f_hi_mhz(self) -> float | None:
        """Highest one."""


def match[T: Measured](
    pulses: Sequence[Pulse], found: Sequence[T], header: FilterbankHeader
) -> tuple[list[tuple[Pulse, T | None]], list[T]]:
    """Give each pulse the strongest find at its place that no other pulse has.

    Returns
    -------
    pairs
        Every pulse, in the given order, with its find or None.
    rest
        Finds that belong to no pulse.
    """
    claims = claim(pulses, found, header)
    pairs = [
        (pulse, None if number is None else found[number])
        for pulse, number in zip(pulses, claims, strict=True)
    ]
    return pairs, [one for number, one in enumerate(found) if number not in claims]


def claim(
    pulses: Sequence[Pulse], found: Sequence[Measured], header: FilterbankHeader
) -> list[int | None]:
    """Let every pulse, the strongest first, claim the strongest find left at its place.

    The place is within 1.5 widths of the arrival (at the mean delay of the channels that it
    was measured in, where time and DM are independent), and in DM within the sweep of three
    widths and nearer to the pulse than to DM 0.

    Returns
    -------
    claims
        Index of each pulse's find, or None.
    """
    mean, share = np.array([_place(one, header) for one in found]).reshape(-1, 2).T
    unit_dm = dm_per_sample(header.freqs_mhz, header.tsamp_s)
    sweeps = np.array([one.dm for one in found]) / unit_dm
    times = np.array([one.time_s for one in found]) / header.tsamp_s + mean * sweeps
    snrs = np.array([one.snr for one in found])
    free = np.ones(len(found), np.bool_)
    claims: list[int | None] = [None] * len(pulses)
    for number in sorted(range(len(pulses)), key=lambda i: -pulses[i].snr):
        pulse = pulses[number]
        width = shape_pulse(pulse, header).boxcar_samples
        sweep = pulse.dm / unit_dm
        off_sweep = np.abs(sweeps - sweep)
        off_time = np.abs(times - pulse.time_s / header.tsamp_s - mean * sweep)
        here = (
            free
            & (off_sweep <= np.minimum((3 * width + 4) / share, sweep / 2))
            & (off_time <= 1.5 * width + 4)
        )
        if here.any():
            best = int(np.flatnonzero(here)[snrs[here].argmax()])
            claims[number], free[best] = best, False
    return claims


def _place(one: Measured, header: FilterbankHeader) -> tuple[float, float]:
    """Mean delay and sweep of the channels that a find was measured in, in sweeps of all."""
    freqs_mhz, most = header.freqs_mhz, abs(header.foff_mhz) / 2
    low = freqs_mhz.min() if one.f_lo_mhz is None else one.f_lo_mhz
    high = freqs_mhz.max() if one.f_hi_mhz is None else one.f_hi_mhz
    shape = channel_shape(freqs_mhz)[(freqs_mhz > low - most) & (freqs_mhz < high + most)]
    return float(shape.mean()), max(float(np.ptp(shape)), 1e-9)
