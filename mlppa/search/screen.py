"""Clean gulps to raw peaks: the kernel's part of the search."""

import math
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from ..clean import SIGMA
from ..data import CleanGulp, Int8Array
from ..dedisperse import BLOCK, MARGIN, Kernel, Peaks, Window
from .cluster import TRIGGER, Triggers
from .resolutions import Resolutions

if TYPE_CHECKING:
    from . import SearchPlan

#: The screen misses a few percent of a pulse's S/N, so it triggers this much lower.
SCREEN_MARGIN = 0.92


class Screen:
    """Finds raw peaks in gulps that come one after the other.

    Parameters
    ----------
    plan
        What to search.
    kernel
        What does the dedispersion.
    """

    def __init__(self, plan: "SearchPlan", kernel: Kernel) -> None:
        self._plan, self._kernel = plan, kernel
        self._resolutions = Resolutions(plan.halos, kernel.share)

    def __call__(self, gulp: CleanGulp, least: float) -> list[Triggers]:
        """Give the peaks whose boxcar ends in a gulp.

        Parameters
        ----------
        least
            S/N from which a peak is a candidate.

        Returns
        -------
        peaks
            Of all of the band, and of each part that is searched by itself.
        """
        windows = self._resolutions.windows(gulp)
        parts = [slice(None), *(part.channels for part in self._plan.subbands)]
        pieces = [gulp.part(channels) for channels in parts]
        wanted = [
            _wanted(piece, [window[channels] for window in windows], plan, least)
            for piece, channels, plan in zip(pieces, parts, self._plan.plans, strict=True)
        ]
        # all at once: so threads wait for each other once only
        found = iter(self._kernel([window for some in wanted for window in some]))
        return [
            _triggers(piece, list(islice(found, len(some))), plan)
            for piece, some, plan in zip(pieces, wanted, self._plan.plans, strict=True)
        ]


def _noise(gulp: CleanGulp) -> float:
    """Noise of the sum of a gulp's channels, in counts."""
    return SIGMA * math.sqrt(max(int(np.count_nonzero(gulp.good)), 1))


def _wanted(
    gulp: CleanGulp, windows: Sequence[Int8Array], plan: "SearchPlan", least: float
) -> list[Window]:
    """Say what is to be screened for peaks of so much S/N."""
    threshold = SCREEN_MARGIN * least * _noise(gulp)
    nsamples = len(gulp.valid)
    return [
        Window(
            windows[octave.index][:, -octave.halo - (nsamples >> octave.index) :],
            octave,
            threshold,
        )
        for octave in plan.octaves
    ]


def _triggers(gulp: CleanGulp, screened: Sequence[Peaks], plan: "SearchPlan") -> Triggers:
    """Tell peaks of octaves as what is common to all of them."""
    noise = _noise(gulp)
    found = []
    for octave, peaks in zip(plan.octaves, screened, strict=True):
        first = gulp.start >> octave.index
        # the middle of the boxcar, from the middle of the block that it ends in
        bottom = first + BLOCK * (peaks.block + 0.5) - (MARGIN + peaks.width) / 2
        sweep = octave.group_sweeps[peaks.group]
        triggers = np.zeros(len(peaks.group), TRIGGER)
        triggers["time"] = (bottom - (1 - plan.mean_shape) * sweep + 0.5) * 2**octave.index - 0.5
        triggers["sweep"] = sweep << octave.index
        triggers["width"] = peaks.width << octave.index
        triggers["snr"] = peaks.score / noise
        triggers["slack"] = BLOCK << octave.index
        triggers["span"] = octave.group_spans[peaks.group] << octave.index
        found.append(triggers)
    return np.concatenate(found)
