"""A recorded file as a live input of this process, at the telescope's pace."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import count
from urllib.parse import urlencode

import numpy as np

from ..channel import prefetch
from ..data import Block, FilterbankHeader
from ..errors import ConfigError
from . import QUIET_S, Source, open_source, split_options
from .pace import Pace, cut, heap_samples

#: Blocks that are read before their time.
READ_AHEAD = 2


@dataclass(slots=True)
class Round:
    """One time through the file: a live `Source`."""

    header: FilterbankHeader
    recorded: Source
    pace: Pace
    offset: int
    live: bool = field(default=True, init=False)
    nsamples: int | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)

    def blocks(self) -> Iterator[Block]:
        """Give heaps of about 20 ms, each when its last sample would have been recorded."""
        given = Block(0, np.empty((0, self.header.nchans), np.uint8))
        with closing(prefetch(self.recorded.blocks(), READ_AHEAD, name="replay")) as blocks:
            for heap in cut(blocks, heap_samples(self.header)):
                due_s = self.pace.due_s(self.offset + heap.stop)
                quiet_s = self.pace.due_s(self.offset + given.stop) + QUIET_S
                if heap.start > given.stop and due_s > quiet_s:
                    if self.pace.wait(quiet_s) is None:
                        return
                    yield Block(given.stop, heap.spectra[:0], received_s=self.pace.clock())
                if self.pace.wait(due_s) is None or self._closed:
                    return
                given = replace(heap, received_s=self.pace.clock())
                yield given

    def close(self) -> None:
        """Let `blocks` end with the heap at hand; other rounds come behind it."""
        self._closed = True


class ReplayFeed:
    """Plays recorded data once, or for ever: each round is an observation after the last."""

    def __init__(self, source: Source, speed: float, *, loop: bool) -> None:
        self._source = source
        self._loop = loop
        self._pace = Pace(source.header.tsamp_s, speed)
        self._closed = False

    def observations(self) -> Iterator[Source]:
        """Give one source for each round; dates go on where the round before ended."""
        header, nsamples = self._source.header, self._source.nsamples or 0
        self._pace.start()
        for number in count() if self._loop else range(1):
            if self._closed:
                return
            offset = number * nsamples
            date = header.mjd(offset * header.tsamp_s)
            yield Round(replace(header, tstart_mjd=date), self._source, self._pace, offset)

    def close(self) -> None:
        """End the round at hand, and all others."""
        self._closed = True
        self._pace.stop()
        self._source.close()


def open_replay(uris: Sequence[str], known: FilterbankHeader | None) -> ReplayFeed:
    """Open ``replay:PATH?speed=1&loop=1``; further options are the file's own.

    Parameters
    ----------
    known
        Not needed: files tell their header.

    Raises
    ------
    ConfigError
        Where an option makes no sense.
    InputError
        Where the file cannot be used.
    """
    (uri,) = uris
    path, options = split_options(uri.removeprefix("replay:"))
    loop = options.pop("loop", "0") not in ("0", "")
    text = options.pop("speed", "1")
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < np.inf:
        raise ConfigError(uri, f"speed={text}", "give a number above 0; 1 is the telescope's pace")
    query = f"?{urlencode(options)}" if options else ""
    return ReplayFeed(open_source([path + query]), speed, loop=loop)
