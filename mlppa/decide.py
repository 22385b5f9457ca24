"""Probabilities to verdicts: a pulse, or interference with the reason why."""

from collections.abc import Iterable, Iterator

from .data import Candidate, Classified, Detection, Report
from .images import draw
from .search import SearchPlan


def decide(
    classified: Iterable[Classified],
    plan: SearchPlan,
    min_probability: float,
    *,
    pictures: bool = True,
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
            reason = rejection(candidate, plan, float(probability), min_probability)
            detections.append(
                Detection(
                    candidate=candidate,
                    probability=float(probability),
                    label="pulse" if reason is None else "rfi",
                    reason=reason,
                    picture=draw(candidate, image, searched.history, plan)
                    if pictures and reason is None
                    else None,
                )
            )
        yield Report(searched.coverage, item.budget, tuple(detections))


def rejection(
    candidate: Candidate, plan: SearchPlan, probability: float, min_probability: float
) -> str | None:
    """Say why a candidate is not a pulse; None if it is one.

    A burst without dispersion has the same bow-tie as a pulse, centred on DM 0, so the
    shape cannot tell and two plain rules do: it is at least as strong at DM 0, or its
    DM is 0 within the error (or within one sample of sweep).
    """
    if candidate.snr_zero_dm >= candidate.snr:
        return f"zero-dm: S/N {candidate.snr_zero_dm:.1f} without dispersion"
    if candidate.dm <= max(3 * candidate.dm_err, plan.unit_dm):
        return f"zero-dm: DM {candidate.dm:.2f} +- {candidate.dm_err:.2f}"
    if probability < min_probability:
        return f"network: probability {probability:.3f} < {min_probability:g}"
    return None
