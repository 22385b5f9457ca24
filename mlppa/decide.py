"""Probabilities to verdicts: a pulse, or interference with the reason why."""

import math
from collections.abc import Iterable, Iterator

from .data import Candidate, Classified, Detection, History, Report
from .images import cut_panels, draw, snr_beside
from .search import SearchPlan
from .search.subbands import view

#: A burst at DM 0 keeps this much of its S/N there, since boxcars are fewer ...
KEPT_AT_ZERO = 0.94

#: ... but for what noise adds to the best of many trials.
GAINED_BY_TRIALS = 0.3

#: A list of another search may name what is hardly there; networks have seen nothing fainter.
FAINTEST_SNR = 5.2

#: So many errors from DM 0 is near; no error is less than this part of the width in sweep:
#: the spectrum of a bright burst leans on its DM more than noise does.
NEAR_ZERO = 4.0
CERTAIN_WIDTHS = 0.02

#: In a part of the band, a chirp is as straight as a pulse, and networks have seen no cuts of
#: parts: their odds count so many times less there.
PART_ODDS = 30.0

#: A chirp shows beside its part of the band with at least this S/N, and this share of its own.
BESIDE_SNR = 4.0
BESIDE_SHARE = 0.25


def decide(
    classified: Iterable[Classified],
    plan: SearchPlan,
    min_probability: float,
    *,
    pictures: bool = True,
    panels: bool = False,
) -> Iterator[Report]:
    """Label every candidate.

    Parameters
    ----------
    classified
        Image batches with their probabilities.
    plan
        The plan that they were searched with.
    min_probability
        The network's probability from which a candidate is a pulse.
    pictures
        Whether to prepare a picture of each pulse for plotting.
    panels
        Whether to cut the panels that other classifiers see.

    Yields
    ------
    report
        One per item, with coverage, and with all candidates, rejected ones included.
    """
    for item in classified:
        searched = item.batch.searched
        detections = []
        for candidate, image, probability in zip(
            searched.candidates, item.batch.images, item.probabilities, strict=True
        ):
            seen, history, part = view(candidate, searched.history, plan)
            if candidate.channels is None:
                reason = rejection(seen, part, float(probability), min_probability)
            else:
                reason = rejection(seen, part, float(probability), least_in_parts(min_probability))
                reason = reason or chirp(candidate, searched.history, plan)
            detections.append(
                Detection(
                    candidate=candidate,
                    probability=float(probability),
                    label="pulse" if reason is None else "rfi",
                    reason=reason,
                    image=image,
                    panels=cut_panels(seen, history, part) if panels else None,
                    picture=draw(seen, image, history, part)
                    if pictures and reason is None
                    else None,
                )
            )
        yield Report(searched.coverage, item.budget, tuple(detections))


def least_in_parts(min_probability: float) -> float:
    """Give the probability from which a candidate of a part of the band is a pulse."""
    odds = PART_ODDS * min_probability
    return odds / (1 - min_probability + odds)


def chirp(candidate: Candidate, history: History, plan: SearchPlan) -> str | None:
    """Say why a candidate of a part of the band is no pulse, but what drifts through all of it."""
    beside = snr_beside(candidate, history, plan)
    if beside < max(BESIDE_SNR, BESIDE_SHARE * candidate.snr):
        return None
    return f"chirp: S/N {beside:.1f} off its track, beside its part of the band"


def rejection(
    candidate: Candidate, plan: SearchPlan, probability: float, min_probability: float
) -> str | None:
    """Say why a candidate is not a pulse; None if it is one.

    A burst without dispersion has the same bow-tie as a pulse, centred on DM 0, so the
    shape cannot tell and plain rules do: it is at least as strong at DM 0; or its DM is
    less than one sample of sweep; or it is not far from DM 0 and nearly as strong there.
    """
    dm, snr, zero = candidate.dm, candidate.snr, candidate.snr_zero_dm
    if candidate.listed and snr < FAINTEST_SNR:
        return f"faint: S/N {snr:.1f} in the data"
    if zero >= snr:
        return f"zero-dm: S/N {zero:.1f} without dispersion"
    err = math.hypot(candidate.dm_err, CERTAIN_WIDTHS * candidate.width_samples * plan.unit_dm)
    same = zero >= KEPT_AT_ZERO * snr - GAINED_BY_TRIALS
    if dm <= plan.unit_dm or (dm <= NEAR_ZERO * err and same):
        return f"zero-dm: DM {dm:.2f} +- {candidate.dm_err:.2f}, S/N {zero:.1f} without dispersion"
    if probability < min_probability:
        return f"network: probability {probability:.3f} < {min_probability:.3g}"
    return None
