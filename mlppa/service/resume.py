"""After a restart: where to go on, and what has been told already."""

from dataclasses import replace

from ..data import Detection, FilterbankHeader, Report
from ..dispersion import SECONDS_PER_DAY, dm_per_sample
from ..sinks.journal import Journal

#: What came before the last decision is read again: the search needs its past, and the longest
#: sweeps that were waiting.
OVERLAP_S = 120.0

#: Candidates of before that may come again.
MOST = 5000

#: What is measured twice, with another past, lies within so many widths.
WIDTHS = 1.5


class Resumed:
    """What an earlier process has told of data that are read again.

    Parameters
    ----------
    journal
        Of the stream.

    Attributes
    ----------
    mjd
        Where to read on; None where nothing has been read.
    """

    def __init__(self, journal: Journal) -> None:
        last = journal.decided()
        self.mjd: float | None = None
        self._decided_mjd = float("-inf")
        if last is not None:
            past_s = (last.decided_to - last.start) * last.tsamp_s
            self._decided_mjd = last.mjd_start + past_s / SECONDS_PER_DAY
            self.mjd = self._decided_mjd - OVERLAP_S / SECONDS_PER_DAY
        latest = journal.latest(MOST) if last is not None else []
        self._told = [(one.mjd, one.dm, one.width_ms) for one in latest]

    def fresh(self, report: Report, header: FilterbankHeader) -> Report:
        """Give a report without candidates that were told before."""
        if not self._told:
            return report
        new = tuple(one for one in report.detections if not self._is_told(one, header))
        return report if len(new) == len(report.detections) else replace(report, detections=new)

    def _is_told(self, one: Detection, header: FilterbankHeader) -> bool:
        found = one.candidate
        mjd = header.mjd(found.sample * header.tsamp_s)
        # what is older by far is of a file that came late: nobody has seen it
        since_s = (self._decided_mjd - mjd) * SECONDS_PER_DAY
        if 0 < since_s <= 2 * OVERLAP_S:
            return True
        unit_dm = dm_per_sample(header.freqs_mhz, header.tsamp_s)
        for told_mjd, dm, width_ms in self._told:
            width = WIDTHS * max(found.width_samples, width_ms * 1e-3 / header.tsamp_s) + 2
            off = abs(mjd - told_mjd) * SECONDS_PER_DAY / header.tsamp_s
            if off <= width and abs(found.dm - dm) <= width * unit_dm:
                return True
        return False
