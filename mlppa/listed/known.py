"""The data that lists are about, as far as they can be read now, and lines that wait for them."""

import logging
import time
from collections.abc import Iterable, Sequence

from ..data import Listed
from ..dispersion import sweep_s
from ..errors import MlppaError
from .places import Observation, named_data, observations

log = logging.getLogger(__name__)

#: A listed DM whose sweep lasts longer is looked up only if it is asked for.
LONGEST_SWEEP_S = 60.0

#: So long a line waits for the rest of its sweep, where the data are still being written, ...
PATIENCE_S = 20.0

#: ... and for so much more, that its image needs.
IMAGE_S = 0.1


class Known:
    """Data that were given, and those that lists name.

    Parameters
    ----------
    given
        URIs.
    growing
        Whether they may still be written, go away and come again: they are looked at anew
        each time, and what cannot be read is told instead of refused.

    Raises
    ------
    MlppaError
        Where given data cannot be used, unless they are growing.

    Attributes
    ----------
    found
        What is known of those given.
    """

    def __init__(self, given: Sequence[str], *, growing: bool) -> None:
        self._given = list(given)
        self._growing = growing
        self._told: set[str] = set()
        self.found = [] if growing else observations(self._given)

    def about(self, rows: Iterable[Listed]) -> list[Observation]:
        """Give all data that lines may lie in."""
        named = self._readable(named_data(rows, self._given))
        if self._growing:
            return observations(self._readable(self._given) + named)
        return observations([*self._given, *named]) if named else self.found

    def _readable(self, uris: Iterable[str]) -> list[str]:
        """Leave out what cannot be used now, and tell so once."""
        found = []
        for uri in uris:
            try:
                observations([uri])
            except MlppaError as error:
                if str(error) not in self._told:
                    log.warning("%s; candidates in it are judged by their lists alone", error)
                self._told.add(str(error))
            else:
                found.append(uri)
        return found


class Waiting:
    """Lines whose sweep may be yet to be written."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._late: list[tuple[float, Listed]] = []

    def ready(self, fresh: Iterable[Listed]) -> list[Listed]:
        """Take lines in, and give those that need not wait, or have waited for too long."""
        now = time.monotonic()
        late = self._late + [(now + PATIENCE_S, row) for row in fresh]
        data = self._known.about([row for _, row in late]) if late else []
        self._late, ready = [], []
        for until, row in late:
            if until > now and _is_coming(row, data):
                self._late.append((until, row))
            else:
                ready.append(row)
        return ready


def _is_coming(row: Listed, data: Iterable[Observation]) -> bool:
    """Whether the end of a sweep lies behind all that is written, and not far behind it."""
    if row.mjd is None:
        return False
    ends = [
        one.seconds(row) + sweep_s(row.dm, one.header.freqs_mhz) + IMAGE_S > one.stop_s
        for one in data
        if 0 <= one.seconds(row) <= one.stop_s + LONGEST_SWEEP_S
    ]
    return bool(ends) and all(ends)
