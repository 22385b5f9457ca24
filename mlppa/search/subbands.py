"""Parts of the band, searched as if there were no more: for bursts that fill only one.

A burst in a third of the band has a third of its S/N in the noise of all of it, and the
rest of the band's noise on top. So quarters and halves are searched by themselves, at a
coarse time resolution, where it costs little. A candidate of a part is told as one of the
whole band: it arrives where the delay law takes it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..data import Candidate, History
from ..dedisperse import Grid, octaves
from .cluster import Triggers, as_triggers, explains, is_explained, is_repeated

if TYPE_CHECKING:
    from . import SearchPlan

#: Bounds of the parts, in quarters of the band (in the logarithm of frequency).
BOUNDS = ((0, 1), (1, 2), (2, 3), (3, 4), (0, 2), (1, 3), (2, 4))

#: Fewer channels are no part worth a search.
FEWEST_CHANNELS = 16

#: Nor are fewer DMs.
FEWEST_ROWS = 16

#: All parts must not cost more than this share of what the whole band does: else their time
#: resolution is coarser.
MOST_COST = 0.9

#: A part has to tell a burst by so much better than the whole band: noise alone makes one of
#: seven parts better by a little.
PART_EXCESS = 1.15

#: A burst may reach beyond the part that tells it best: so much more of it the whole band may see.
BEYOND_PART = 2.0

#: The longest boxcar: what drifts more slowly in a part of the band is no burst.
WIDEST_S = 32e-3

#: Time is averaged by two when a sweep of a part exceeds so many samples.
DELAYS_PER_OCTAVE = 1024


def split(freqs_mhz: NDArray[np.float64]) -> list[slice]:
    """Give the channels of each part; none where channels are too few."""
    logs = np.log(freqs_mhz)
    edges = np.linspace(logs.min(), logs.max(), 5)
    # the lowest and the highest channel belong to somebody
    edges[[0, -1]] += (-1, 1)
    found = []
    for low, high in BOUNDS:
        inside = np.flatnonzero((logs >= edges[low]) & (logs < edges[high]))
        if len(inside) >= FEWEST_CHANNELS:
            found.append(slice(int(inside[0]), int(inside[-1]) + 1))
    return found


@dataclass(frozen=True, eq=False)
class SubBand:
    """A part of the band.

    Parameters
    ----------
    channels
        Which ones.
    plan
        Its search.
    top, mean
        Delay of its highest channel, and the mean delay of the whole band, as fractions of
        the sweep of the whole band.
    ratio
        Sweep of the whole band over that of the part.
    nchans
        Channels of the whole band.
    """

    channels: slice
    plan: "SearchPlan"
    top: float
    mean: float
    ratio: float
    nchans: int

    @property
    def bounds(self) -> tuple[int, int]:
        """Its first channel, and the one after its last."""
        return self.channels.start, self.channels.stop

    @property
    def noise_share(self) -> float:
        """Noise of its sum over that of the whole band."""
        return math.sqrt(len(self.plan.freqs_mhz) / self.nchans)

    def in_band(self, peaks: Triggers) -> Triggers:
        """Give peaks of the part as all of the band sees them."""
        there = peaks.copy()
        there["time"] += self._lever * there["sweep"]
        there["sweep"] *= self.ratio
        there["span"] *= self.ratio
        return there

    def seen(self, peaks: Triggers) -> Triggers:
        """Give peaks of the whole band as the part sees them."""
        there = peaks.copy()
        there["sweep"] /= self.ratio
        there["span"] /= self.ratio
        there["time"] -= self._lever * there["sweep"]
        return there

    @property
    def _lever(self) -> float:
        """Mean delay of the whole band less that of the part, for each sample of its sweep."""
        return (self.mean - self.top) * self.ratio - self.plan.mean_shape

    def of_band(self, candidate: Candidate) -> Candidate:
        """Tell a candidate of the part as one of the band: arrived at the top of the band."""
        sample = candidate.sample - self._to_top(candidate)
        return replace(candidate, sample=sample, channels=self.bounds)

    def of_part(self, candidate: Candidate) -> Candidate:
        """Tell a candidate of the band as one of the part: arrived at the top of the part."""
        return replace(candidate, sample=candidate.sample + self._to_top(candidate), channels=None)

    def _to_top(self, candidate: Candidate) -> float:
        return self.top * self.ratio * candidate.dm / self.plan.unit_dm


def make_subbands(whole: "SearchPlan", grid: Grid, finest_s: float) -> tuple[SubBand, ...]:
    """Plan the search of every part that spans more than a few DMs.

    Parameters
    ----------
    grid
        What is tried in the whole band.
    finest_s
        Sampling time from which on they are searched.
    """
    first = max(math.ceil(math.log2(finest_s / whole.tsamp_s)), 0)
    most = MOST_COST * _cost([whole])
    parts = _parts(whole, grid, first)
    while _cost(part.plan for part in parts) > most:
        first += 1
        parts = _parts(whole, grid, first)
    return tuple(parts)


def _parts(whole: "SearchPlan", grid: Grid, first_octave: int) -> list[SubBand]:
    grid = replace(
        grid,
        width_max_s=min(grid.width_max_s, WIDEST_S),
        delays_per_octave=DELAYS_PER_OCTAVE,
        first_octave=first_octave,
    )
    found = []
    for channels in split(whole.freqs_mhz):
        freqs_mhz = whole.freqs_mhz[channels]
        trials = octaves(grid, freqs_mhz, whole.tsamp_s)
        if len(trials[0].sweeps) >= FEWEST_ROWS:
            widest = min(whole.max_width, int(WIDEST_S / whole.tsamp_s))
            plan = replace(whole, freqs_mhz=freqs_mhz, octaves=trials, max_width=widest)
            ratio = plan.unit_dm / whole.unit_dm
            top = float(whole.shape[channels].min())
            found.append(
                SubBand(channels, plan, top, whole.mean_shape, ratio, len(whole.freqs_mhz))
            )
    return found


def _cost(plans: Iterable["SearchPlan"]) -> float:
    """Give the rows that are made and matched with boxcars, for each sample."""
    return float(sum(len(o.sweeps) / 2**o.index for plan in plans for o in plan.octaves))


def distinct(
    found: Sequence[Candidate], known: Sequence[Candidate], plan: "SearchPlan"
) -> list[Candidate]:
    """Leave out what is only a wing of a stronger candidate, in whatever part of the band.

    Two are compared as the part sees them that tells DMs less well. What is known is told
    already: so a stronger one of another part, of which a known one is a wing, is left out
    too.

    Returns
    -------
    distinct
        Those of ``found`` that are new, in the order of time.
    """
    strongest = sorted(found, key=lambda c: -_weight(c))
    every = [*known, *strongest]
    bounds = {None: 0} | {one.bounds: number for number, one in enumerate(plan.subbands, start=1)}
    part = np.array([bounds[c.channels] for c in every], np.int64)
    seen = _as_seen(every, plan, set(part.tolist()))
    coarseness = [1.0, *(one.ratio for one in plan.subbands)]
    told = np.arange(len(every)) < len(known)
    for i in range(len(known), len(every)):
        told[i] = True
        for number in seen:
            others = np.flatnonzero(told[:i] & (part[:i] == number))
            peaks = seen[max(number, int(part[i]), key=coarseness.__getitem__)]
            before = peaks[others[others < len(known)]]
            again = is_repeated if number == part[i] else explains
            explained = is_explained(peaks[i], peaks[others])
            if explained and number and part[i] == 0:
                # what shines in a part only is faint in all of the band
                there = seen[0][others]
                there["snr"] *= BEYOND_PART * PART_EXCESS * plan.subbands[number - 1].noise_share
                here = is_repeated(peaks[i], peaks[others])
                explained = here or is_explained(seen[0][i], there)
            told[i] &= not explained and not again(peaks[i], before)
    new = [c for c, is_told in zip(strongest, told[len(known) :], strict=True) if is_told]
    return sorted(new, key=lambda c: c.sample)


def _weight(candidate: Candidate) -> float:
    return candidate.snr / (1 if candidate.channels is None else PART_EXCESS)


def _as_seen(
    candidates: Sequence[Candidate], plan: "SearchPlan", numbers: set[int]
) -> dict[int, Triggers]:
    """Give candidates as peaks of all the band (0), or of the parts of these numbers."""
    candidates = [replace(c, snr=_weight(c)) for c in candidates]
    return {
        number: as_triggers(candidates, plan)
        if number == 0
        else as_triggers(
            [plan.subbands[number - 1].of_part(c) for c in candidates], plan.plans[number]
        )
        for number in numbers
    }


type View = tuple[Candidate, History, "SearchPlan"]


def view(candidate: Candidate, history: History, plan: "SearchPlan") -> View:
    """Give a candidate, its data and its plan as if there were only its part of the band."""
    if candidate.channels is None:
        return candidate, history, plan
    channels = slice(*candidate.channels)
    part = next(part for part in plan.subbands if part.channels == channels)
    return part.of_part(candidate), history.part(channels), part.plan
