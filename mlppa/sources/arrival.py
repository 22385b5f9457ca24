"""A file that comes into a folder, and what is wanted of the folder."""

import logging
import os
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, NamedTuple

from ..metrics import FILES
from .observation import Recording
from .sigproc import SigprocFile

logger = logging.getLogger(__name__)

#: What the options are by default.
SETTLE_S = 5.0
GAP_S = 60.0

type Fate = Literal["read", "refused", "unfinished", "repeated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a ``dir:`` URI says.

    Parameters
    ----------
    folder
        Where files come in; folders in it are not looked into.
    patterns
        Names that count.
    from_now
        Whether what is there at the start is left out.
    after_mjd
        What was recorded before this date is left out.
    settle_s
        A file that did not grow for so long counts as finished.
    gap_s
        A file that begins this much after the end of the last one begins an observation.
    poll
        Whether to read the folder every second, and not to wait for notices of the system.
    stokes
        As in `SigprocFile`.
    """

    folder: Path
    patterns: tuple[str, ...] = ("*.fil",)
    from_now: bool = False
    after_mjd: float = 0.0
    settle_s: float = SETTLE_S
    gap_s: float = GAP_S
    poll: bool = False
    stokes: bool = False

    def wants(self, name: str) -> bool:
        """Whether a name counts; temporary ones do not."""
        if name.startswith(".") or name.endswith((".part", ".tmp")):
            return False
        return any(fnmatchcase(name, pattern) for pattern in self.patterns)


class Stamp(NamedTuple):
    """What tells a file from another one of the same name."""

    inode: int
    nbytes: int
    mtime_ns: int


def stamp_of(status: os.stat_result) -> Stamp:
    """Take it from what the system says of a file."""
    return Stamp(status.st_ino, status.st_size, status.st_mtime_ns)


@dataclass(slots=True, eq=False)
class Arrival:
    """A file that came in.

    Parameters
    ----------
    path, stamp
        The file as it was last seen.
    since_s
        The `time.monotonic` at which its size was first seen.
    state
        ``waiting`` for more of it, ``ready`` to be read, ``held`` by who reads it, or
        ``left``: for good, unless it changes.
    ready_s
        The `time.monotonic` from which on it was ready.
    recording
        What is known of it, once its header is whole.
    skip
        Samples at its beginning that are not wanted.
    left, left_bytes
        Recording and size when it was left: of the same one only what is new is read.
    gone
        Whether the name was not there when last looked at.
    fated
        Whether it was counted.
    told
        What is odd about it and was told.
    """

    path: Path
    stamp: Stamp
    since_s: float
    state: Literal["waiting", "ready", "held", "left"] = "waiting"
    ready_s: float = 0.0
    recording: Recording | None = None
    skip: int = 0
    left: Recording | None = None
    left_bytes: int = 0
    gone: bool = False
    fated: bool = False
    told: set[tuple[str, str]] = field(default_factory=set)

    @property
    def known(self) -> Recording:
        """The recording of one whose header is whole."""
        assert self.recording is not None
        return self.recording

    @property
    def turn(self) -> tuple[float, str]:
        """By what they are put in order: date, then name."""
        return self.known.stream.tstart_mjd, self.path.name

    def grow(self, stamp: Stamp, now: float) -> None:
        """Take notice of another size."""
        if stamp.nbytes != self.stamp.nbytes:
            self.since_s = now
        self.stamp = stamp
        # How many rows a PSRFITS file has stands in its header: that must be read again.
        file = self.recording
        self.recording = sized(file, stamp.nbytes) if isinstance(file, SigprocFile) else None

    def count(self, fate: Fate, why: str = "") -> None:
        """Count what became of it, and say why it was not read; once."""
        if self.fated:
            return
        self.fated = True
        FILES.labels(fate=fate).inc()
        if why:
            logger.warning("%s: %s", self.path, why)


def sized(file: SigprocFile, nbytes: int) -> SigprocFile:
    """Give a file with the spectra that it holds when it has so many bytes."""
    data_bytes = max(0, nbytes - file.header.header_bytes)
    return replace(file, header=replace(file.header, data_bytes=data_bytes))


def is_another(stamp: Stamp, known: Stamp) -> bool:
    """Whether it cannot be the known file, grown."""
    return stamp.inode != known.inode or stamp.nbytes < known.nbytes


def are_same(one: Recording, other: Recording) -> bool:
    """Whether two files hold the same observation; without a date nothing is known."""
    return one.stream.tstart_mjd > 0 and (one.stream, one.layout) == (other.stream, other.layout)


def left_samples(arrival: Arrival) -> int:
    """Count the samples that were there when a file was left."""
    if isinstance(arrival.recording, SigprocFile):
        header = arrival.recording.header
        return max(0, arrival.left_bytes - header.header_bytes) // header.bytes_per_spectrum
    return 0 if arrival.left is None else arrival.left.nsamples
