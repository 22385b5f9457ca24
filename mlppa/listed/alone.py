"""Listed candidates without data: merged by what their lists tell, and judged by it.

Or by pictures that came with the lists: whoever judges sees the lines that lead.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..classify.table import beside
from ..data import Candidate, Detection, FilterbankHeader, Float32Array, JudgedBy, Listed
from ..dispersion import dm_per_sample
from ..errors import InputError
from ..search.cluster import owners
from .join import peaks_of
from .places import Observation, beam_number

#: Sampling time of candidates of which nothing is known but a line.
TSAMP_S = 1e-3

#: An S/N of nothing.
LEAST_SNR = 1.0


@dataclass(frozen=True, slots=True)
class Homeless:
    """A listed candidate that lies in no data, with the header of those it should lie in."""

    listed: Listed
    header: FilterbankHeader


def header_of(listed: Listed, observation: Observation | None) -> FilterbankHeader | None:
    """Give the header of a candidate's data, or one made of its line; None where it has none.

    Of a line are known both ends of the band, as channels, and the date.
    """
    if observation is not None:
        return observation.header
    low, high, mjd = listed.f_lo_mhz, listed.f_hi_mhz, listed.mjd
    if low is None or high is None or mjd is None or not 0 < low < high:
        return None
    try:
        return FilterbankHeader(
            nchans=2,
            fch1_mhz=high,
            foff_mhz=low - high,
            tsamp_s=TSAMP_S,
            tstart_mjd=math.floor(mjd),
            beam=beam_number(listed) or 0,
        )
    except InputError:  # a band that no telescope has
        return None


#: Gives probabilities (n,) of lines, and of what `table.COLUMNS` there is of them, (n, 7).
type JudgeLines = Callable[[Sequence[Listed], Float32Array], Float32Array]


def judge_lines(
    rows: Sequence[Homeless], judge: JudgeLines, threshold: float, judged_by: JudgedBy = "list"
) -> list[tuple[FilterbankHeader, tuple[Detection, ...]]]:
    """Merge and judge candidates by what their lists say of them.

    Parameters
    ----------
    rows
        The candidates.
    judge
        Gives probabilities.
    threshold
        From which on one is a pulse.
    judged_by
        What the judge sees.

    Returns
    -------
    judged
        For every header, in the order of their first lines, what is judged.
    """
    by_header: dict[FilterbankHeader, list[Listed]] = {}
    for row in rows:
        by_header.setdefault(row.header, []).append(row.listed)
    return [
        (header, _judged(header, some, judge, threshold, judged_by))
        for header, some in by_header.items()
    ]


def _judged(
    header: FilterbankHeader,
    rows: Sequence[Listed],
    judge: JudgeLines,
    threshold: float,
    judged_by: JudgedBy,
) -> tuple[Detection, ...]:
    home = Observation((), header, 0)
    unit_dm = dm_per_sample(header.freqs_mhz, header.tsamp_s)
    samples = np.array([home.seconds(row) / header.tsamp_s for row in rows])
    peaks = peaks_of(
        header,
        samples.tolist(),
        [row.dm for row in rows],
        [home.width_samples(row) for row in rows],
        # of one that is not known nothing is promised
        [max(row.snr or LEAST_SNR, LEAST_SNR) for row in rows],
    )
    owner = owners(peaks)
    leaders = np.unique(owner).tolist()
    near = beside(samples[leaders] * header.tsamp_s, peaks["snr"][leaders].astype(np.float32))
    columns = np.array(
        [
            (
                rows[leader].dm,
                peaks["width"][leader] * header.tsamp_s * 1e3,
                peaks["snr"][leader],
                header.f_lo_mhz,
                header.f_hi_mhz,
                near.others[number],
                near.rival_snr[number],
            )
            for number, leader in enumerate(leaders)
        ],
        np.float32,
    )
    detections = []
    probabilities = judge([rows[leader] for leader in leaders], columns)
    for leader, probability in zip(leaders, probabilities, strict=True):
        found = Candidate(
            sample=float(samples[leader]),
            dm=rows[leader].dm,
            dm_err=float(peaks["width"][leader]) * unit_dm,
            width_samples=int(peaks["width"][leader]),
            snr=float(peaks["snr"][leader]),
            snr_zero_dm=0.0,
            octave=0,
            listed=tuple(rows[number] for number in np.flatnonzero(owner == leader).tolist()),
            searched=False,
            partial=True,
        )
        is_pulse = float(probability) >= threshold
        reason = f"{judged_by}: probability {probability:.3f} < {threshold:g}, without data"
        detections.append(
            Detection(
                candidate=found,
                probability=float(probability),
                label="pulse" if is_pulse else "rfi",
                reason=None if is_pulse else reason,
                judged_by=judged_by,
            )
        )
    return tuple(detections)
