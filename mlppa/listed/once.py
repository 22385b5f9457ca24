"""A pulse is sent once, and a name is given once."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..data import Detection, FilterbankHeader, Report
from ..wire import DetectionMessage, Origin, detection_message
from .join import is_repeat, peaks_of

#: Pulses that later lines may be repeats of.
MOST_REMEMBERED = 1000


class Once:
    """Remembers what was told, so that the same is not told again.

    What has the name of something told before stands for it: a pulse in two files, or a
    line that came later.

    Parameters
    ----------
    told
        What earlier processes of the same run told.
    growing
        Whether lines come later that may be wings of pulses which are out: all others were
        merged before.
    """

    def __init__(self, told: Iterable[DetectionMessage] = (), *, growing: bool = False) -> None:
        self._growing = growing
        self._names: Counter[str] = Counter()
        self._out: deque[DetectionMessage] = deque(maxlen=MOST_REMEMBERED)
        for message in told:
            self._remember(message)

    def only(self, reports: Iterable[Report], origin: Origin) -> Iterator[Report]:
        """Pass reports on; in them, reject what was told before."""
        for report in reports:
            fresh = tuple(self._judge(one, origin) for one in report.detections)
            yield replace(report, detections=fresh)

    def _remember(self, message: DetectionMessage) -> None:
        name, _, again = message.id.rpartition("-r")
        self._names[name if again.isdecimal() else message.id] += 1
        if message.label == "pulse":
            self._out.append(message)

    def _judge(self, one: Detection, origin: Origin) -> Detection:
        message = detection_message(one, origin)
        same = message.id if self._names[message.id] else None
        if same is None and self._growing and one.label == "pulse":
            same = self._wing_of(one, origin.header)
        if same is not None:
            one = replace(one, label="rfi", reason=f"repeat: of {same}", picture=None)
            one = replace(one, again=self._names[message.id])
        self._remember(detection_message(one, origin))
        return one

    def _wing_of(self, one: Detection, header: FilterbankHeader) -> str | None:
        """Name the pulse of the same beam that one is only another line of."""
        known = [message for message in self._out if _is_of(message, header)]
        peak = peaks_of(
            header,
            [one.candidate.sample],
            [one.candidate.dm],
            [one.candidate.width_samples],
            [one.candidate.snr],
        )
        per_day = 86400.0 / header.tsamp_s
        others = peaks_of(
            header,
            [(message.mjd - header.tstart_mjd) * per_day for message in known],
            [message.dm for message in known],
            [max(message.width_ms * 1e-3 / header.tsamp_s, 1.0) for message in known],
            [message.snr for message in known],
        )
        same = is_repeat(peak, others)
        return next((m.id for m, it in zip(known, same, strict=True) if it), None)


def _is_of(message: DetectionMessage, header: FilterbankHeader) -> bool:
    band = message.beam, message.nchans, message.fch1_mhz, message.foff_mhz
    return band == (header.beam, header.nchans, header.fch1_mhz, header.foff_mhz)
