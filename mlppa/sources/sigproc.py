"""SIGPROC filterbank files as a source of blocks."""

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Block, FilterbankHeader
from ..formats.bits import UInt8Array, unpack_bits
from ..formats.sigproc import SigprocHeader, read_header
from . import split_options
from .observation import FileSource, read_bytes, reject_options

logger = logging.getLogger(__name__)

#: Bytes of the file that are read at a time, at most.
MOST_BYTES = 1 << 26

_WIDER = {"uint8": np.uint16, "int8": np.int16, "uint16": np.uint32, "float32": np.float32}


@dataclass(frozen=True, slots=True)
class SigprocFile:
    """One filterbank file whose header was checked.

    Parameters
    ----------
    path, header
        The file and its header.
    stokes
        Whether 4 IFs are Stokes I, Q, U, V, of which I is taken. The header cannot
        say it. Else they are the products AA, BB, CR, CI, of which AA + BB is
        taken, as with 2 IFs and as SIGPROC itself sums them.
    block_samples
        Spectra to a block; by default those of a second or two, as they mostly make a gulp.
    """

    path: Path
    header: SigprocHeader
    stokes: bool = False
    block_samples: int | None = None

    @property
    def stream(self) -> FilterbankHeader:
        """What the data mean."""
        return self.header.stream

    @property
    def layout(self) -> str:
        """IFs and sign, as text."""
        return f"{'signed' if self.header.signed else 'unsigned'} data of {self.header.nifs} IF"

    @property
    def nsamples(self) -> int:
        """Whole spectra in the file when its header was read."""
        return self.header.nsamples

    def blocks(self, first: int = 0, last: int | None = None) -> Iterator[Block]:
        """Give spectra, IFs summed, in the channel order and number type of the file."""
        size = self.header.bytes_per_spectrum
        step = self.block_samples or block_samples(self.header)
        stop = self.nsamples if last is None else min(last, self.nsamples)
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.header.header_bytes + first * size)
            for start in range(first, stop, step):
                wanted = min(step, stop - start)
                raw = read_bytes(file, wanted * size)
                got = len(raw) // size
                if got:
                    yield Block(start, decode(raw[: got * size], self.header, stokes=self.stokes))
                if got < wanted:
                    _warn_of_shrinking(self, start + got, len(raw) - got * size)
                    return


def block_samples(header: SigprocHeader) -> int:
    """Take a second or two: a power of two, as in a gulp, which then needs no copy."""
    second = math.ceil(math.log2(1 / header.stream.tsamp_s))
    most = int(math.log2(MOST_BYTES / header.bytes_per_spectrum))
    return 1 << max(min(second, most), 0)


def _warn_of_shrinking(file: SigprocFile, stop: int, ignored: int) -> None:
    logger.warning(
        "%s: shrank while it was read: ends after %d of %d spectra, %d bytes are ignored",
        file.path,
        stop,
        file.nsamples,
        ignored,
    )


def decode(raw: UInt8Array, header: SigprocHeader, *, stokes: bool = False) -> NDArray[Any]:
    """Turn the bytes of whole spectra into intensities.

    Parameters
    ----------
    raw
        Shape (nsamples * header.bytes_per_spectrum,).
    stokes
        As in `SigprocFile`.

    Returns
    -------
    spectra
        Shape (nsamples, nchans). A sum of two IFs is of the next wider type.
    """
    nbits = header.stream.nbits
    if nbits < 8:
        samples: NDArray[Any] = unpack_bits(raw, nbits)
    else:
        samples = raw.view({8: "i1" if header.signed else "u1", 16: "<u2", 32: "<f4"}[nbits])
    cube = samples.reshape(-1, header.nifs, header.stream.nchans)
    if header.nifs == 1 or (header.nifs == 4 and stokes):
        return np.ascontiguousarray(cube[:, 0])
    total: NDArray[Any] = np.add(cube[:, 0], cube[:, 1], dtype=_WIDER[samples.dtype.name])
    return total


def read_file(path: Path, *, stokes: bool = False, growing: bool = False) -> SigprocFile:
    """Read the header of a file; ``stokes`` is as in `SigprocFile`, ``growing`` in `read_header`.

    Raises
    ------
    InputError
        Where it cannot be used.
    """
    file = SigprocFile(path, read_header(path, growing=growing), stokes)
    if file.header.nifs == 4 and not stokes:
        logger.warning("%s: 4 IFs are taken as AA, BB, CR, CI; else add ?stokes=1", path)
    return file


def open_sigproc(uris: Sequence[str]) -> FileSource:
    """Open filterbank files that continue each other.

    Parameters
    ----------
    uris
        Paths; ``PATH?stokes=1`` says that 4 IFs are Stokes I, Q, U, V.
    """
    files = []
    for uri in uris:
        path, options = split_options(uri)
        stokes = options.pop("stokes", "0") not in ("0", "")
        reject_options(uri, options)
        files.append(read_file(Path(path), stokes=stokes))
    return FileSource(files)
