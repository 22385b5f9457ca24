"""The files of a folder that fills: which are whole enough to be read, and whose turn it is."""

import os
import stat
import time
from bisect import insort
from contextlib import suppress
from pathlib import Path

from ..data import FilterbankHeader
from ..disk import is_file
from ..dispersion import SECONDS_PER_DAY
from ..errors import InputError
from ..formats.psrfits import read_psrfits_header
from ..formats.sigproc import ShortHeaderError
from . import telling_once
from .arrival import Arrival, Fate, Options, is_another, left_samples, sized, stamp_of
from .observation import Recording
from .psrfits import PsrfitsFile
from .sigproc import SigprocFile, read_file
from .watch import Watch

#: How often news are taken notice of.
LOOK_EVERY_S = 0.1
#: Names, and files that were read, that are remembered.
MEMORY = 100_000

_FITS = b"SIMPLE  ="


class Arrivals:
    """The files of a folder; a name that is known is not opened again until it changes."""

    def __init__(self, options: Options) -> None:
        self.after_mjd = options.after_mjd
        self.options = options
        self._watch = Watch(options.folder, poll=options.poll)
        self._seen: dict[str, Arrival] = {}
        self._waiting: dict[str, Arrival] = {}
        self._ready: list[Arrival] = []
        self._held: Arrival | None = None
        self._read: dict[tuple[FilterbankHeader, str], int] = {}
        self._look_at_s = 0.0
        self._are_old = options.from_now

    def look(self) -> None:
        """Take notice of what changed, if the last look was long enough ago."""
        now = time.monotonic()
        if now < self._look_at_s:
            return
        self._look_at_s = now + LOOK_EVERY_S
        names, all_there_are = self._watch.changed(now)
        if all_there_are:
            names |= {name for name, one in self._seen.items() if not one.gone}
        for name in filter(self.options.wants, names):
            self._see(name, now)
        for name, arrival in list(self._waiting.items()):
            if self.is_settled(arrival, now):
                self._see(name, now)
                if self._waiting.get(name) is arrival:
                    self._judge(arrival, now)
        if all_there_are:
            self._are_old = False
            self._forget()

    def next(self) -> Arrival | None:
        """Give the earliest one that is ready and was not read before."""
        while self._ready:
            first = self._ready[0]
            if self._read_bytes(first) != first.stamp.nbytes:
                return first
            first.count("repeated", "a file of this date and size was read already: left out")
            self.leave(first)
        return None

    def has_later(self, than: Arrival, since_s: float) -> bool:
        """Whether one with a later date than another has been ready since then."""
        date = than.turn[0]
        return any(one.turn[0] > date and one.ready_s <= since_s for one in self._ready)

    def is_settled(self, arrival: Arrival, now: float) -> bool:
        """Whether one did not grow for long enough."""
        return now - arrival.since_s >= self.options.settle_s

    def hold(self, arrival: Arrival) -> None:
        """Let one that is ready be read: its growth is not looked at here any more."""
        self._ready.remove(arrival)
        arrival.state, self._held = "held", arrival

    def remember(self, arrival: Arrival) -> None:
        """Note that one was read as far as it goes, so that it is not read again."""
        key = arrival.known.stream, arrival.known.layout
        self._read.pop(key, None)
        self._read[key] = arrival.stamp.nbytes
        if len(self._read) > MEMORY:
            del self._read[next(iter(self._read))]

    def leave(self, arrival: Arrival) -> None:
        """Let go of one; should it grow, only what is new is read."""
        if arrival.state == "ready":
            self._ready.remove(arrival)
        if self._waiting.get(arrival.path.name) is arrival:
            del self._waiting[arrival.path.name]
        if arrival is self._held:
            self._held = None
        arrival.state, arrival.left_bytes = "left", arrival.stamp.nbytes
        arrival.left, arrival.recording = arrival.recording, None

    def close(self) -> None:
        """Let go of the folder."""
        self._watch.close()

    def _see(self, name: str, now: float) -> None:
        """Look at a name, whose file may be new, another one, longer, or gone."""
        known = self._seen.get(name)
        try:
            status = os.stat(f"{self.options.folder}/{name}")  # noqa: PTH116 - thousands of times
        except OSError:
            status = None
        if status is None or stat.S_ISDIR(status.st_mode):
            self._lose(known)
            return
        stamp = stamp_of(status)
        if known is not None and known is not self._held and known.stamp == stamp:
            known.gone = False
            return
        path = self.options.folder / name
        if self._held is not None and stamp.inode == self._held.stamp.inode:
            # Whoever reads it sees it grow; but it may have got another name.
            self._seen.pop(self._held.path.name, None)
            self._seen[name] = self._held
            self._held.path, self._held.gone = path, False
            return
        if known is None or known.gone or is_another(stamp, known.stamp):
            self._lose(known)
            known = self._seen[name] = Arrival(path, stamp, now)
            if self._are_old:
                self.leave(known)
                return
        known.grow(stamp, now)
        if known.state != "ready":
            self._judge(known, now)
        elif known.recording is None:
            self._ready.remove(known)
            self._judge(known, now)

    def _lose(self, arrival: Arrival | None) -> None:
        """Forget about one whose name is not there any more, or is another's."""
        if arrival is None or arrival.gone:
            return
        arrival.gone = True
        if arrival.state == "ready":
            arrival.count("unfinished", "was deleted or renamed before it was read")
        if arrival.state in ("waiting", "ready"):
            self.leave(arrival)
            del self._seen[arrival.path.name]

    def _judge(self, arrival: Arrival, now: float) -> None:
        """Find out whether one is whole enough to be read."""
        arrival.state = "waiting"
        self._waiting[arrival.path.name] = arrival
        settled = self.is_settled(arrival, now)
        try:
            with telling_once(arrival.told):
                recording = arrival.recording or self._open(arrival.path, settled=settled)
            if recording is not None:
                self._weigh(arrival, recording, now)
        except ShortHeaderError as error:
            if settled:
                self._reject(arrival, "unfinished", f"{error.cause}, and it does not grow")
        except InputError as error:
            if os.path.exists(arrival.path):  # noqa: PTH110 - that of pathlib may raise
                self._reject(arrival, "refused", f"{error.cause}; {error.remedy}")

    def _open(self, path: Path, *, settled: bool) -> Recording | None:
        """Read the header of a file; None says that it may not be whole yet."""
        if is_file(path):  # opening a pipe would wait for ever
            with suppress(OSError), path.open("rb") as file:
                start = file.read(len(_FITS))
                if start and _FITS.startswith(start):
                    return PsrfitsFile(path, read_psrfits_header(path)) if settled else None
        return read_file(path, stokes=self.options.stokes, growing=True)

    def _weigh(self, arrival: Arrival, recording: Recording, now: float) -> None:
        """Decide whether one whose header is whole holds anything that is wanted."""
        settled = self.is_settled(arrival, now)
        if isinstance(recording, SigprocFile):
            recording = sized(recording, arrival.stamp.nbytes)
        arrival.recording = recording
        if arrival.left is not None and arrival.left.stream != recording.stream:
            arrival.left, arrival.left_bytes = None, 0
        arrival.skip = max(left_samples(arrival), self._samples_before(recording.stream))
        if recording.nsamples <= arrival.skip:
            if settled and arrival.skip:
                self.leave(arrival)
            elif settled:
                self._reject(arrival, "unfinished", "holds no whole spectrum, and does not grow")
            return
        # It may be a copy in the making.
        if settled or self._read_bytes(arrival) <= arrival.stamp.nbytes:
            del self._waiting[arrival.path.name]
            arrival.state, arrival.ready_s = "ready", now
            arrival.fated = arrival.left is not None
            insort(self._ready, arrival, key=lambda one: one.turn)

    def _reject(self, arrival: Arrival, fate: Fate, why: str) -> None:
        """Leave one that cannot be read; should it change, all of it is looked at again."""
        arrival.count(fate, why)
        self.leave(arrival)
        arrival.left, arrival.left_bytes = None, 0

    def _samples_before(self, stream: FilterbankHeader) -> int:
        """Count the samples of a file that are too old; one without a date has none."""
        days = self.after_mjd - stream.tstart_mjd if stream.tstart_mjd else 0.0
        return max(0, round(days * SECONDS_PER_DAY / stream.tsamp_s))

    def _read_bytes(self, arrival: Arrival) -> int:
        """Size of a file with the same header that was read; without a date none is the same."""
        stream = arrival.known.stream
        return self._read.get((stream, arrival.known.layout), 0) if stream.tstart_mjd else 0

    def _forget(self) -> None:
        if len(self._seen) > MEMORY:
            self._seen = {name: one for name, one in self._seen.items() if not one.gone}
