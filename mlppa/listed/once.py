"""Of lists that grow: a pulse that is out already is not sent again."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..data import Candidate, Detection, FilterbankHeader, Report
from ..search import SearchPlan
from ..wire import DetectionMessage, Origin, detection_message
from .join import is_repeat

#: Pulses that later lines may be repeats of.
MOST_REMEMBERED = 1000


class Once:
    """Remembers the pulses that are out.

    Parameters
    ----------
    out
        Those of earlier runs.
    """

    def __init__(self, out: Iterable[DetectionMessage] = ()) -> None:
        self._out = deque(out, maxlen=MOST_REMEMBERED)

    def only(self, reports: Iterable[Report], plan: SearchPlan, origin: Origin) -> Iterator[Report]:
        """Pass reports on; in them, reject what is only another line of a pulse that is out."""
        for report in reports:
            fresh = tuple(self._judge(one, plan, origin) for one in report.detections)
            yield replace(report, detections=fresh)

    def _judge(self, one: Detection, plan: SearchPlan, origin: Origin) -> Detection:
        if one.label != "pulse":
            return one
        known = [_as_candidate(message, origin.header) for message in self._out]
        same = is_repeat(one.candidate, known, plan)
        message = detection_message(one, origin)
        for other, repeated in zip(self._out, same, strict=True):
            if repeated and other.id != message.id:
                return replace(one, label="rfi", reason=f"repeat: of {other.id}", picture=None)
        self._out.append(message)
        return one


def _as_candidate(message: DetectionMessage, header: FilterbankHeader) -> Candidate:
    """Give a pulse that is out as it stands in data."""
    return Candidate(
        sample=(message.mjd - header.tstart_mjd) * 86400.0 / header.tsamp_s,
        dm=message.dm,
        dm_err=message.dm_err,
        width_samples=max(round(message.width_ms * 1e-3 / header.tsamp_s), 1),
        snr=message.snr,
        snr_zero_dm=0.0,
        octave=message.octave,
    )
