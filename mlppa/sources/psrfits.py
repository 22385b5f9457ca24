"""Search-mode PSRFITS files as a source of blocks."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..data import Block, BoolArray, FilterbankHeader, Float32Array
from ..errors import FormatError, InputError
from ..formats.bits import UInt8Array, unpack_bits
from ..formats.psrfits import PsrfitsHeader, read_psrfits_header
from . import split_options
from .observation import BLOCK_BYTES, FileSource, read_bytes, reject_options

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What turns the counts of a row into intensities.

    ``scale`` and ``offset`` are float32 of shape (summed, nchans), the zero of the
    counts included; ``recorded``, shape (nchans,), is False where the weight is 0.
    """

    scale: Float32Array
    offset: Float32Array
    recorded: BoolArray


@dataclass(frozen=True, slots=True)
class PsrfitsFile:
    """One search-mode file whose header was checked.

    Parameters
    ----------
    path, header
        The file and its header.
    block_samples
        The most spectra of a block, which never goes over the end of a row; about
        2 MiB of the file by default.
    """

    path: Path
    header: PsrfitsHeader
    block_samples: int | None = None

    @property
    def stream(self) -> FilterbankHeader:
        """What the data mean."""
        return self.header.stream

    @property
    def layout(self) -> str:
        """Polarisations and sign, as text."""
        return f"{'signed' if self.header.signed else 'unsigned'} data of {self.header.npol} pol"

    @property
    def nsamples(self) -> int:
        """Index after the last spectrum."""
        return self.header.nsamples

    def blocks(self, first: int = 0, last: int | None = None) -> Iterator[Block]:
        """Give intensities as float32, NaN where a channel has weight 0.

        Weights other than 0 are not applied: they are for averages, not a gain.
        Rows that have none of the samples [first, last) are left out. ``valid`` is False
        for spectra all of whose bytes are zero: padding.
        """
        with self.path.open("rb") as file:
            for row, start in enumerate(self.header.row_starts):
                stop = int(start) + self.header.spectra(row)
                if start < 0 or stop <= first or (last is not None and start >= last):
                    continue
                try:
                    yield from self._row(file, row, int(start))
                except FormatError as error:
                    logger.warning("%s: %s; the rest is ignored", self.path, error.cause)
                    return

    def _row(self, file: BinaryIO, row: int, start: int) -> Iterator[Block]:
        header = self.header
        calibration = self._calibration(file, row)
        size = header.bytes_per_spectrum
        step = self.block_samples or max(1, BLOCK_BYTES // size)
        stop = header.spectra(row)
        for first in range(0, stop, step):
            file.seek(header.position(row, "DATA") + first * size)
            wanted = min(step, stop - first)
            raw = read_bytes(file, wanted * size)
            got = len(raw) // size
            if got:
                yield _block(start + first, raw[: got * size], header, calibration)
            if got < wanted:
                cause = f"shrank while it was read: ends after spectrum {first + got} of row {row}"
                raise FormatError(self.path, cause, "copy it again")

    def _calibration(self, file: BinaryIO, row: int) -> Calibration:
        header = self.header
        shape = (header.npol, header.stream.nchans)
        freqs_mhz = header.cell(file, row, "DAT_FREQ")
        off_mhz = np.abs(freqs_mhz - header.stream.freqs_mhz)
        if not np.max(off_mhz) <= 0.5 * abs(header.stream.foff_mhz):
            remedy = "search the rows before it and after it as files of their own"
            raise InputError(self.path, f"the channel frequencies change at row {row}", remedy)
        scale = header.cell(file, row, "DAT_SCL").reshape(shape)
        offset = header.cell(file, row, "DAT_OFFS").reshape(shape)
        used = slice(0, header.summed)
        with np.errstate(invalid="ignore", over="ignore"):
            return Calibration(
                scale[used].astype(np.float32),
                (offset - header.zero_off * scale)[used].astype(np.float32),
                header.cell(file, row, "DAT_WTS") > 0,
            )


def _block(start: int, raw: UInt8Array, header: PsrfitsHeader, calibration: Calibration) -> Block:
    """Turn the bytes of whole spectra into a block."""
    valid = raw.reshape(-1, header.bytes_per_spectrum).any(axis=1)
    if not calibration.recorded.any():
        valid[:] = False
    nbits, nchans = header.stream.nbits, header.stream.nchans
    samples = unpack_bits(raw, nbits, first="high") if nbits < 8 else raw.view(header.sample_type)
    cube = samples.reshape(-1, header.npol, nchans)
    spectra = np.zeros((len(cube), nchans), np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        for pol in range(header.summed):
            spectra += cube[:, pol] * calibration.scale[pol] + calibration.offset[pol]
    spectra[:, ~calibration.recorded] = np.nan
    return Block(start, spectra, None if valid.all() else valid)


def open_psrfits(uris: Sequence[str]) -> FileSource:
    """Open search-mode PSRFITS files that continue each other."""
    files = []
    for uri in uris:
        path, options = split_options(uri)
        reject_options(uri, options)
        files.append(PsrfitsFile(Path(path), read_psrfits_header(Path(path))))
    return FileSource(files)
