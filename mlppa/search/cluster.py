"""Many raw peaks to one leader per pulse.

A pulse also shows at wrong DMs, times and widths: its bow-tie. Seen at the mean
delay of the band, a pulse of width w and signal to noise S is spread over w + d samples
where the sweep is d samples off, and a boxcar of v samples finds there at most
S sqrt(w / v) min(v, w + d) / (w + d); a burst that fills part of the band spreads less.
So a peak belongs to a stronger one if it lies in the bow-tie and is no stronger than
that. Distinct pulses stay apart.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..data import Candidate

if TYPE_CHECKING:
    from . import SearchPlan

#: Raw peaks: middle of the boxcar at the band's mean delay, sweep, width, and how far
#: off the time and the sweep may be, all in samples; and the S/N.
TRIGGER = np.dtype([(name, "f8") for name in ("time", "sweep", "width", "slack", "span", "snr")])

type Triggers = NDArray[Any]

#: A wing is off in time by at most this part of what it is off in sweep, and by this many
#: widths of both.
REACH_SWEEP = 0.6
REACH_WIDTHS = 1.5

#: The edges of a bow-tie are brighter than its mean: channels arrive closer at the top.
BOWTIE_EXCESS = 2.0

#: What is measured twice, from neighbouring blocks, differs by less than this in S/N.
REPEAT_EXCESS = 1.2

#: Part of the band that a burst fills at least, for its wings to be known as such.
LEAST_BAND = 0.4

#: What noise may add to the S/N of a wing.
NOISE_SIGMA = 2.0


def owners(triggers: Triggers) -> NDArray[np.int64]:
    """Group raw peaks, strongest first.

    Of equals the earlier one is stronger, and then that of the lower sweep.

    Returns
    -------
    owners
        Index of the strongest peak of the group that each belongs to, (ntriggers,).
    """
    from . import groups

    return groups.owners(triggers)


def in_bowtie(triggers: Triggers, centre: Any) -> NDArray[np.bool_]:
    """Tell which peaks are wings of a centre."""
    near, law = _bowtie(triggers, centre)
    strength = BOWTIE_EXCESS * centre["snr"] * law + NOISE_SIGMA
    return np.asarray(near & (triggers["snr"] <= strength))


def _bowtie(triggers: Any, centre: Any) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Tell where peaks lie near centres, and how much of its S/N is left there at most."""
    off_sweep = np.abs(triggers["sweep"] - centre["sweep"])
    off_time = np.abs(triggers["time"] - centre["time"])
    slack = triggers["slack"] + centre["slack"]
    beside = REACH_WIDTHS * (triggers["width"] + centre["width"]) + slack
    spread, boxcar = centre["width"] + LEAST_BAND * off_sweep, triggers["width"]
    law = np.sqrt(centre["width"] / boxcar) * np.minimum(boxcar, spread) / spread
    return off_time <= REACH_SWEEP * off_sweep + beside, law


def as_triggers(candidates: Sequence[Candidate], plan: "SearchPlan") -> Triggers:
    """Give measured candidates as peaks whose place is certain, shape (ncandidates,)."""
    peaks = np.zeros(len(candidates), TRIGGER)
    peaks["sweep"] = [c.dm / plan.unit_dm for c in candidates]
    peaks["time"] = [c.sample for c in candidates] + plan.mean_shape * peaks["sweep"]
    peaks["width"] = [c.width_samples for c in candidates]
    peaks["snr"] = [c.snr for c in candidates]
    return peaks


def is_explained(peak: Any, by: Triggers) -> bool:
    """Whether a peak is only a wing of stronger ones; those of several add up."""
    stronger = by[by["snr"] >= peak["snr"]]
    near, law = _bowtie(peak, stronger)
    total = float((stronger["snr"] * law)[near].sum())
    return bool(near.any()) and bool(peak["snr"] <= BOWTIE_EXCESS * total + NOISE_SIGMA)


def is_repeated(peak: Any, known: Triggers) -> bool:
    """Whether a peak is the same pulse as one known, though measured a little stronger."""
    width = (known["width"] + peak["width"]) / 2
    here = (np.abs(known["time"] - peak["time"]) <= width / 2) & (
        np.abs(known["sweep"] - peak["sweep"]) <= width
    )
    return bool((here & (peak["snr"] <= REPEAT_EXCESS * known["snr"])).any())


def explains(peak: Any, others: Triggers) -> bool:
    """Whether any of others is only a wing of a peak, which is stronger."""
    return bool((in_bowtie(others, peak) & (others["snr"] <= peak["snr"])).any())
