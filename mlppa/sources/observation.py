"""Files that continue each other, served as one observation."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isclose, ulp
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from ..data import Block, FilterbankHeader
from ..dispersion import SECONDS_PER_DAY
from ..errors import ConfigError, InputError
from ..formats.bits import UInt8Array

logger = logging.getLogger(__name__)

#: Raw bytes of a block of PSRFITS, about.
BLOCK_BYTES = 1 << 21
#: Samples that two files may share by a rounding of their dates.
TINY_OVERLAP = 2
#: Files further apart than this are not one observation.
MAX_GAP_S = SECONDS_PER_DAY


class Recording(Protocol):
    """One file; its sample indices count from its own first sample."""

    @property
    def path(self) -> Path:
        """The file."""
        ...

    @property
    def stream(self) -> FilterbankHeader:
        """What its data mean."""
        ...

    @property
    def layout(self) -> str:
        """How samples are stored, as text: files of one observation must agree."""
        ...

    @property
    def nsamples(self) -> int:
        """Index after its last sample."""
        ...

    def blocks(self, first: int = 0, last: int | None = None) -> Iterator[Block]:
        """Give the blocks with samples [first, last), all by default, and perhaps some more.

        OSError where the file cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class Placed:
    """A file whose sample 0 is sample ``start`` of the observation.

    Its first ``skip`` samples were in the file before.
    """

    start: int
    skip: int
    recording: Recording


class FileSource:
    """Recorded files in the order of their dates, as one `Source`.

    Raises
    ------
    InputError
        Where no file holds a spectrum, or the files are not one observation.
    """

    live = False

    def __init__(self, recordings: Sequence[Recording]) -> None:
        self._placed = arrange(recordings)
        self._stretches: Sequence[tuple[int, int]] | None = None
        self._closed = False

    def only(self, stretches: Sequence[tuple[int, int]]) -> None:
        """Let `blocks` give no samples but those of [first, last), in rising order."""
        self._stretches = stretches

    @property
    def header(self) -> FilterbankHeader:
        """The header of the earliest file."""
        return self._placed[0].recording.stream

    @property
    def nsamples(self) -> int:
        """Samples from the first to the last, those in gaps included."""
        return max(placed.start + placed.recording.nsamples for placed in self._placed)

    def blocks(self) -> Iterator[Block]:
        """Give the blocks of all files, one file after the other.

        Raises
        ------
        InputError
            Where a file can no longer be read. One that shrinks is not an error:
            it ends early, with a warning.
        """
        stretches = [(0, self.nsamples)] if self._stretches is None else self._stretches
        for first, last in stretches:
            for placed in self._placed:
                path = placed.recording.path
                try:
                    for block in moved(placed, first, last):
                        if self._closed:
                            return
                        yield block
                except OSError as error:
                    cause = f"cannot be read any more ({error.strerror})"
                    raise InputError(path, cause, "check the disk and the permissions") from error

    def close(self) -> None:
        """Let `blocks` end after the block at hand."""
        self._closed = True


def arrange(recordings: Sequence[Recording]) -> list[Placed]:
    """Put files in the order of their dates and give each its sample index.

    A file follows without a gap if its date says so to within half a sample; else
    there is a gap of a whole number of samples.

    Raises
    ------
    InputError
        Where files differ, overlap, or are a day apart.
    """
    filled = [recording for recording in recordings if recording.nsamples > 0]
    for recording in recordings:
        if recording.nsamples > 0:
            continue
        if not filled:
            raise InputError(recording.path, "holds no whole spectrum", "copy or record it again")
        logger.warning("%s: holds no whole spectrum and is left out", recording.path)
    filled.sort(key=lambda recording: recording.stream.tstart_mjd)
    placed = [Placed(0, 0, filled[0])]
    for recording in filled[1:]:
        placed.append(follow(placed[-1], recording, filled[0]))
    return placed


def follow(
    last: Placed, recording: Recording, first: Recording, most_gap_s: float = MAX_GAP_S
) -> Placed:
    """Place a file behind the last one of an observation that began with the ``first``.

    Raises
    ------
    InputError
        Where it does not continue them: it differs, overlaps, or begins more than
        ``most_gap_s`` later.
    """
    _check_same(recording, first)
    tsamp_s, date = first.stream.tsamp_s, recording.stream.tstart_mjd
    samples_per_day = SECONDS_PER_DAY / tsamp_s
    exact = (date - first.stream.tstart_mjd) * samples_per_day
    stop = last.start + last.recording.nsamples
    if exact - stop > most_gap_s / tsamp_s:
        cause = f"begins {(exact - stop) * tsamp_s:.0f} s after the end of {last.recording.path}"
        raise InputError(recording.path, cause, "search files so far apart one by one")
    # A date is a float64 MJD: no better than a microsecond.
    if abs(exact - stop) <= 0.5 + ulp(date) * samples_per_day:
        return Placed(stop, 0, recording)
    start = round(exact)
    skip = max(0, stop - start)
    if skip > TINY_OVERLAP:
        cause = f"overlaps {last.recording.path} by {skip} samples ({skip * tsamp_s:.3g} s)"
        raise InputError(recording.path, cause, "give files of one beam that follow each other")
    if skip:
        logger.warning("%s: its first %d samples were in the file before", recording.path, skip)
    return Placed(start, skip, recording)


def _check_same(recording: Recording, first: Recording) -> None:
    """Refuse a file that cannot continue the first one."""
    for name in ("nchans", "fch1_mhz", "foff_mhz", "tsamp_s", "nbits"):
        here, there = getattr(recording.stream, name), getattr(first.stream, name)
        if not isclose(here, there, rel_tol=1e-9):
            cause = f"{name} is {here:.10g}, but {there:.10g} in {first.path}"
            raise InputError(recording.path, cause, "give files of one observation")
    if recording.layout != first.layout:
        cause = f"holds {recording.layout}, but {first.path} holds {first.layout}"
        raise InputError(recording.path, cause, "give files of one observation")


def moved(placed: Placed, first: int, last: int) -> Iterator[Block]:
    """Give samples [first, last) of the observation that are in a file."""
    low = max(first - placed.start, placed.skip)
    high = min(last - placed.start, placed.recording.nsamples)
    if low >= high:
        return
    for block in placed.recording.blocks(low, high):
        here = slice(max(low - block.start, 0), max(high - block.start, 0))
        spectra = block.spectra[here]
        if len(spectra):
            valid = None if block.valid is None else block.valid[here]
            yield Block(placed.start + block.start + here.start, spectra, valid)


def read_bytes(file: BinaryIO, nbytes: int) -> UInt8Array:
    """Read bytes into an array of their own; it is shorter where the file ends.

    Files are never mapped into memory: a mapped file that shrinks kills the process.
    """
    raw = np.empty(nbytes, np.uint8)
    view, done = memoryview(raw), 0
    while done < nbytes and (got := file.readinto(view[done:])):  # type: ignore[attr-defined]
        done += got
    return raw[:done]


def reject_options(uri: str, options: dict[str, str]) -> None:
    """Refuse options of a URI that nobody has taken."""
    if options:
        raise ConfigError(uri, f"unknown option {', '.join(options)}", "leave it out")
