"""Heaps to files of a folder, as a recorder leaves them."""

import logging
import os
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..data import Block, FilterbankHeader
from ..disk import make_folder
from ..errors import ConfigError, SinkError
from ..formats.bits import pack_bits
from ..formats.sigproc import pack_header
from ..sources import split_options
from ..sources.observation import reject_options

logger = logging.getLogger(__name__)

_MJD_0 = datetime(1858, 11, 17)


class FolderPlayer:
    """Writes SIGPROC files of some seconds each, at ``dir:///PATH?seconds=10&whole=0``.

    Names are dates, so they sort by time. After a gap a new file begins, for a file has none.
    Heaps that come again, or too late, are left out.

    Parameters
    ----------
    uri
        ``seconds`` is how long a file gets. With ``whole=0`` files grow under their names
        while they are written; with ``whole=1`` each appears when it is complete.

    Raises
    ------
    ConfigError
        The URI has no path, or an option that makes no sense.
    SinkError
        The folder cannot be made.
    """

    def __init__(self, uri: str) -> None:
        place, options = split_options(uri.partition(":")[2])
        if not (place := place.removeprefix("//")):
            raise ConfigError(uri, "names no folder", "give one like dir:///data/incoming")
        self._folder = Path(place)
        self._seconds = _positive(uri, options.pop("seconds", "10"))
        self._whole = options.pop("whole", "0") not in ("0", "")
        reject_options(uri, options)
        make_folder(self._folder)
        self._header: FilterbankHeader | None = None
        self._file: _File | None = None
        self._cursor = 0
        self._told = False

    def begin(self, header: FilterbankHeader) -> None:
        """Begin an observation, and so a new file; InputError where SIGPROC cannot hold it."""
        self._end_file()
        pack_header(header)
        self._header, self._cursor = header, 0

    def send(self, block: Block) -> None:
        """Write one heap; SinkError says that it, or a part of it, is not on the disk."""
        assert self._header is not None, "begin comes first"
        if block.start < self._cursor and not self._told:
            self._told = True
            logger.warning("%s: what comes twice or late is left out", self._folder)
        length = max(1, round(self._seconds / self._header.tsamp_s))
        begin = max(block.start, self._cursor)
        if begin > self._cursor:
            self._end_file()
        while begin < block.stop:
            end = min(block.stop, begin - begin % length + length)
            if self._file is None:
                self._file = self._new_file(self._header, begin)
            try:
                self._file.write(block.spectra[begin - block.start : end - block.start])
            except OSError as error:
                self._end_file()
                cause = f"cannot be written ({error.strerror})"
                raise SinkError(self._folder, cause, "make room, or choose another") from error
            self._cursor = begin = end
            if end % length == 0:
                self._end_file()

    def close(self) -> None:
        """Complete the last file."""
        self._end_file()

    def _new_file(self, header: FilterbankHeader, start: int) -> "_File":
        date = header.mjd(start * header.tsamp_s)
        name = f"{_MJD_0 + timedelta(days=date):%Y%m%dT%H%M%S.%f}_beam{header.beam}.fil"
        path = self._folder / name
        try:
            return _File(path, replace(header, tstart_mjd=date), whole=self._whole)
        except FileExistsError as error:
            raise SinkError(path, "is there already", "give an empty folder") from error
        except OSError as error:
            cause = f"cannot be written ({error.strerror})"
            raise SinkError(path, cause, "choose another folder, or make room") from error

    def _end_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


class _File:
    """A filterbank file in the making."""

    def __init__(self, path: Path, header: FilterbankHeader, *, whole: bool) -> None:
        if path.exists():
            raise FileExistsError
        self._path = path
        self._nbits = header.nbits
        self._part = path.with_name(f".{path.name}.part") if whole else path
        self._file: BinaryIO = self._part.open("wb" if whole else "xb", buffering=0)
        self.write_bytes(pack_header(header))

    def write(self, spectra: NDArray[np.generic]) -> None:
        """Append whole spectra, or nothing."""
        if self._nbits < 8:
            packed = pack_bits(spectra.astype(np.uint8, copy=False).ravel(), self._nbits)
            self.write_bytes(packed.tobytes())
        else:
            self.write_bytes(spectra.tobytes())

    def write_bytes(self, content: bytes) -> None:
        good, left = self._file.tell(), memoryview(content)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            os.ftruncate(self._file.fileno(), good)
            raise

    def close(self) -> None:
        """Let the file appear, if it did not yet."""
        self._file.close()
        self._part.replace(self._path)


def _positive(uri: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < np.inf:
        raise ConfigError(uri, f"seconds={text}", "give a number of seconds above 0")
    return seconds
