"""What was put into a sky against what was found in it, one to one."""

from collections.abc import Sequence
from typing import Protocol

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


def match[T: Found](
    pulses: Sequence[Pulse], found: Sequence[T], header: FilterbankHeader
) -> tuple[list[tuple[Pulse, T | None]], list[T]]:
    """Give each pulse the strongest find at its place that no other pulse has.

    The place is within 1.5 widths of the arrival (at the mean delay of the band, where
    time and DM are independent) and within a sweep of three widths of the DM.

    Returns
    -------
    pairs
        Every pulse, in the given order, with its find or None.
    rest
        Finds that belong to no pulse.
    """
    mean = float(channel_shape(header.freqs_mhz).mean())
    unit_dm = dm_per_sample(header.freqs_mhz, header.tsamp_s)
    rest = list(found)
    pairs: dict[int, T | None] = {}
    for number in sorted(range(len(pulses)), key=lambda i: -pulses[i].snr):
        pulse = pulses[number]
        width = shape_pulse(pulse, header).boxcar_samples

        def is_here(one: T, pulse: Pulse = pulse, width: float = width) -> bool:
            sweep = (one.dm - pulse.dm) / unit_dm
            time = (one.time_s - pulse.time_s) / header.tsamp_s + mean * sweep
            return abs(sweep) <= 3 * width + 4 and abs(time) <= 1.5 * width + 4

        here = [one for one in rest if is_here(one)]
        best = max(here, key=lambda one: one.snr, default=None)
        pairs[number] = best
        rest = [one for one in rest if one is not best]
    return [(pulse, pairs[number]) for number, pulse in enumerate(pulses)], rest
