"""A folder that fills as a live input: files as they come, and as they grow.

A folder keeps what is not read yet, so nothing is shed: when the search is slow, files wait.
"""

import logging
import math
import os
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Block, FilterbankHeader
from ..errors import ConfigError, InputError
from . import QUIET_S, split_options
from .arrival import (
    GAP_S,
    SETTLE_S,
    Arrival,
    Options,
    are_same,
    is_another,
    sized,
    stamp_of,
)
from .folder import LOOK_EVERY_S, Arrivals
from .observation import Placed, follow, moved, read_bytes, reject_options
from .sigproc import SigprocFile, block_samples, decode

logger = logging.getLogger(__name__)

#: A recorder may begin a file before the last bytes of the one before are written.
GRACE_S = 0.5


class DirectoryFeed:
    """The files of a folder in the order of their dates, as observations.

    Raises
    ------
    InputError
        Where the folder is not there.
    """

    def __init__(self, options: Options) -> None:
        if not options.folder.is_dir():
            cause = "is not a folder" if options.folder.exists() else "there is no such folder"
            raise InputError(options.folder, cause, "make it, mount it, or correct the input")
        self._arrivals = Arrivals(options)
        self._source: DirectorySource | None = None
        self._closed = False

    def go_on_after(self, mjd: float) -> None:
        """Leave out what was recorded before a date; before the first observation only."""
        self._arrivals.after_mjd = max(self._arrivals.after_mjd, mjd)

    def observations(self) -> Iterator["DirectorySource"]:
        """Give a source when a file has come that does not continue the ones before."""
        while not self._closed:
            self._arrivals.look()
            first = self._arrivals.next()
            if first is None:
                time.sleep(LOOK_EVERY_S)
                continue
            self._source = source = DirectorySource(self._arrivals, first)
            if self._closed:
                break
            yield source
            source.close()
            if not self._closed:
                source.give_up()
        self._arrivals.close()

    def close(self) -> None:
        """Let the source at hand and `observations` end soon, from any thread."""
        self._closed = True
        if self._source is not None:
            self._source.close()


class DirectorySource:
    """Files of a folder that continue each other, the last of which may still grow."""

    live = False
    nsamples = None

    def __init__(self, arrivals: Arrivals, first: Arrival) -> None:
        self._arrivals = arrivals
        self._first = first.known
        self._placed = Placed(0, first.skip, first.known)
        self._stop = first.skip
        self._held: Arrival | None = first
        self._closed = False
        arrivals.hold(first)

    @property
    def header(self) -> FilterbankHeader:
        """The header of the first file."""
        return self._first.stream

    def blocks(self) -> Iterator[Block]:
        """Give what is there, and more as it comes, until a file does not continue it."""
        quiet_from_s = math.inf
        dtype: np.dtype[Any] = np.dtype(np.uint8)
        with closing(self._pieces()) as pieces:
            for block in pieces:
                if self._closed:
                    return
                if block is not None:
                    self._stop, dtype = block.stop, block.spectra.dtype
                    yield block
                    quiet_from_s = time.monotonic() + QUIET_S
                elif time.monotonic() >= quiet_from_s:
                    quiet_from_s = math.inf
                    nothing = np.empty((0, self.header.nchans), dtype)
                    yield Block(self._stop, nothing, received_s=time.monotonic())
                else:
                    time.sleep(LOOK_EVERY_S)
                self._arrivals.look()

    def close(self) -> None:
        """Let `blocks` end soon, from any thread."""
        self._closed = True

    def give_up(self) -> None:
        """Leave the file at hand where nobody wanted it to its end."""
        if self._held is not None:
            self._held.count("unfinished", "the search left it before its end")
            self._arrivals.leave(self._held)
        self._held = None

    def _pieces(self) -> Generator[Block | None]:
        """Give the blocks of one file after the other, None where there is nothing now."""
        while self._held is not None:
            held = self._held
            try:
                with closing(self._pieces_of(held)) as pieces:
                    for block in pieces:
                        # Asked after the read: what it left was written before the next began.
                        if block is None and self._is_over(held):
                            break
                        yield block
            except OSError as error:
                held.count("unfinished", f"cannot be read any more ({error.strerror or error})")
            except InputError as error:
                held.count("unfinished", f"{error.cause}; {error.remedy}")
            self._let_go(held)
            while (following := self._arrivals.next()) is None:
                yield None
            self._take(following)

    def _pieces_of(self, held: Arrival) -> Generator[Block | None]:
        """Give the blocks of a file; it ends when that cannot grow any more."""
        placed = self._placed
        if isinstance(placed.recording, SigprocFile):
            yield from self._spectra(held, placed, placed.recording)
            return
        for block in moved(placed, 0, placed.start + placed.recording.nsamples):
            yield replace(block, received_s=held.since_s)
        self._finish(held)

    def _spectra(
        self, held: Arrival, placed: Placed, recording: SigprocFile
    ) -> Generator[Block | None]:
        """Follow a filterbank file."""
        header, at = recording.header, placed.skip
        size, step = header.bytes_per_spectrum, block_samples(header)
        with held.path.open("rb", buffering=0) as file:
            while True:
                status = os.fstat(file.fileno())
                before, stamp = held.stamp, stamp_of(status)
                if stamp.inode == before.inode and stamp != before:
                    held.grow(stamp, time.monotonic())
                if is_another(stamp, before):
                    held.count("unfinished", "was replaced or cut short while it was read")
                    return
                raw = np.empty(0, np.uint8)
                if (there := (stamp.nbytes - header.header_bytes) // size) > at:
                    file.seek(header.header_bytes + at * size)
                    raw = read_bytes(file, min(step, there - at) * size)
                if got := len(raw) // size:
                    spectra = decode(raw[: got * size], header, stokes=recording.stokes)
                    yield Block(placed.start + at, spectra, received_s=held.since_s)
                    at += got
                elif status.st_nlink == 0:
                    self._is_over(held)
                    held.count("unfinished", "was deleted before it could be known to be whole")
                    return
                else:
                    yield None

    def _is_over(self, held: Arrival) -> bool:
        """Whether no more of a file is waited for: a later one has begun, or it does not grow."""
        now = time.monotonic()
        over = self._arrivals.is_settled(held, now) or self._arrivals.has_later(held, now - GRACE_S)
        if over:
            self._finish(held)
        return over

    def _finish(self, held: Arrival) -> None:
        file = held.known
        ignored = file.header.ignored_bytes if isinstance(file, SigprocFile) else 0
        if ignored and not held.fated:
            logger.warning("%s: the last %d bytes are no whole spectrum", held.path, ignored)
        held.count("read")
        self._arrivals.remember(held)

    def _let_go(self, held: Arrival) -> None:
        """Leave a file; samples go on behind what was read of it."""
        self._arrivals.leave(held)
        self._held = None
        recording = self._placed.recording
        if isinstance(recording, SigprocFile):
            size = recording.header.bytes_per_spectrum
            samples = max(self._stop - self._placed.start, self._placed.skip)
            nbytes = recording.header.header_bytes + samples * size
            self._placed = replace(self._placed, recording=sized(recording, nbytes))
            held.left_bytes = nbytes

    def _take(self, following: Arrival) -> None:
        """Go on with a file, if it continues the last one."""
        last, recording = self._placed, following.known
        if are_same(recording, last.recording):
            # It grew after it was left.
            placed = Placed(last.start, max(following.skip, last.recording.nsamples), recording)
        else:
            try:
                placed = follow(last, recording, self._first, self._arrivals.options.gap_s)
            except InputError as error:
                logger.info("%s: begins another observation: %s", recording.path, error.cause)
                return
            placed = replace(placed, skip=max(placed.skip, following.skip))
        self._arrivals.hold(following)
        self._held, self._placed = following, placed


def open_directory(uris: Sequence[str], known: FilterbankHeader | None = None) -> DirectoryFeed:
    """Open ``dir:///FOLDER?pattern=*.fil&...``; its options are those of `Options`.

    Parameters
    ----------
    uris
        One URI.
    known
        Not needed: files tell their headers.

    Raises
    ------
    ConfigError
        Where the URI says what it cannot.
    InputError
        Where the folder is not there.
    """
    (uri,) = uris
    path, said = split_options(uri)
    path = path.removeprefix("dir:")
    if path.startswith("//") and not path.startswith("///"):
        raise ConfigError(uri, "names a host", "give a folder, such as dir:///data/incoming")
    if not path:
        raise ConfigError(uri, "names no folder", "give one, such as dir:///data/incoming")
    begin = said.pop("from", "beginning")
    if begin not in ("beginning", "now"):
        raise ConfigError(uri, f"from={begin}", "use from=beginning or from=now")
    options = Options(
        folder=Path(path),
        patterns=tuple(said.pop("pattern", "*.fil").split(",")),
        from_now=begin == "now",
        after_mjd=_number(uri, said, "after", 0.0),
        settle_s=_number(uri, said, "settle", SETTLE_S),
        gap_s=_number(uri, said, "gap", GAP_S),
        poll=said.pop("poll", "0") not in ("0", ""),
        stokes=said.pop("stokes", "0") not in ("0", ""),
    )
    reject_options(uri, said)
    return DirectoryFeed(options)


def _number(uri: str, said: dict[str, str], name: str, default: float) -> float:
    """Take an option that is a number, 0 or more."""
    text = said.pop(name, str(default))
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise ConfigError(uri, f"{name}={text} is no number from 0 on", f"try {name}={default:g}")
    return number
