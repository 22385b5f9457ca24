"""What a list of candidates tells of each, where there are no data to cut images from."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..data import Float32Array

#: What networks for lists see of a candidate, in this order.
COLUMNS = ("dm", "width_ms", "snr", "f_lo_mhz", "f_hi_mhz", "beside", "rival_snr")

#: So near in time are candidates that may belong together.
BESIDE_S = 0.5


class Beside(NamedTuple):
    """What else a list has near each of its candidates, shapes (n,).

    Parameters
    ----------
    others
        How many others lie within `BESIDE_S`.
    rival_snr
        The S/N of the strongest of them; 0 where there is none.
    """

    others: NDArray[np.int64]
    rival_snr: Float32Array


def beside(times_s: NDArray[np.float64], snrs: Float32Array) -> Beside:
    """Look around every candidate of a list, in any order."""
    order = np.argsort(times_s, kind="stable")
    times, sorted_snrs = times_s[order], snrs[order]
    first = np.searchsorted(times, times - BESIDE_S, "left")
    last = np.searchsorted(times, times + BESIDE_S, "right")
    count, rival = np.empty(len(times), np.int64), np.zeros(len(times), np.float32)
    for place, (low, high) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        others = np.delete(sorted_snrs[low:high], place - low)
        count[order[place]] = len(others)
        rival[order[place]] = others.max(initial=0)
    return Beside(count, rival)
