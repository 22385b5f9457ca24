"""The PSRFITS search-mode header, checked against the size of its file.

Definition: van Straten, Manchester, Johnston & Reynolds 2010, PASA 27, 104, and
the PSRFITS page of the ATNF. A row of the SUBINT table holds ``nsblk`` spectra in
the order [time][polarisation][channel], with a weight for each channel, and a
scale and an offset for each channel of each polarisation.
"""

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..data import FilterbankHeader
from ..dispersion import SECONDS_PER_DAY
from ..errors import FormatError, InputError
from .angles import parse_sexagesimal, read_pointing
from .fits import Cards, Column, Table, integer, number, read_table

logger = logging.getLogger(__name__)

type Float64Array = NDArray[np.float64]
type Int64Array = NDArray[np.int64]

#: Types of samples of 8 bits and more; a table stores the high byte first.
_SAMPLES = {8: "u1", 16: ">i2", 32: ">f4"}
#: Rows whose times overlap by no more than this are taken as consecutive.
_TINY_OVERLAP = 2
_REMEDY = "make the file again, or repair its header"


@dataclass(frozen=True, slots=True, kw_only=True)
class PsrfitsHeader:
    """A header that was checked against its file.

    Parameters
    ----------
    stream
        What the data mean.
    table
        The SUBINT table.
    npol
        Polarisation products of each spectrum.
    summed
        How many of them, from the first on, add up to the intensity: 1 or 2.
    nsblk
        Spectra of a row.
    signed
        Whether samples of 8 bits are two's complement.
    zero_off
        What a sample is counted from, in counts.
    row_starts
        Sample index of each row's first spectrum, int64; -1 where the row was
        never written.
    stored
        Spectra in the rows before padding begins (NSTOT).
    """

    stream: FilterbankHeader
    table: Table
    npol: int
    summed: int
    nsblk: int
    signed: bool
    zero_off: float
    row_starts: Int64Array
    stored: int

    @property
    def bytes_per_spectrum(self) -> int:
        """Bytes of one spectrum, all polarisations."""
        return self.stream.nchans * self.npol * self.stream.nbits // 8

    @property
    def sample_type(self) -> str:
        """Number type of a sample; one of less than 8 bits is unpacked to a byte."""
        return "i1" if self.signed else _SAMPLES[max(8, self.stream.nbits)]

    @property
    def nsamples(self) -> int:
        """Index after the last spectrum, missing rows included."""
        counts = ((start, self.spectra(row)) for row, start in enumerate(self.row_starts))
        return int(max((start + n for start, n in counts if start >= 0 and n), default=0))

    def spectra(self, row: int) -> int:
        """Count the spectra of a row that are not padding."""
        return min(self.nsblk, max(0, self.stored - row * self.nsblk))

    def position(self, row: int, name: str) -> int:
        """Give the byte in the file at which a cell begins."""
        return self.table.offset + row * self.table.row_bytes + self.table.columns[name].offset

    def cell(self, file: BinaryIO, row: int, name: str) -> Float64Array:
        """Read the numbers of a cell; those of a column that is left out go without saying."""
        column = self.table.columns.get(name)
        if column is not None:
            return _read_cell(file, self.table, column, row)
        per_channel = 1 if name == "DAT_WTS" else self.npol
        return np.full(self.stream.nchans * per_channel, 0.0 if name == "DAT_OFFS" else 1.0)


def read_psrfits_header(path: Path) -> PsrfitsHeader:
    """Read and check the headers of a search-mode PSRFITS file.

    What is odd but harmless is told in one warning.

    Raises
    ------
    InputError
        Where the file cannot be read, or holds something else than spectra.
    FormatError
        Where the headers are damaged, or disagree with each other.
    """
    notes: list[str] = []
    try:
        table = read_table(path, "SUBINT")
        with path.open("rb") as file:
            header = _checked(file, table, notes)
    except InputError as error:
        raise type(error)(path, error.cause, error.remedy) from None
    except OSError as error:
        raise InputError(path, str(error.strerror), "check the name and the permissions") from error
    if notes:
        logger.warning("%s: %s", path, "; ".join(notes))
    return header


def _checked(file: BinaryIO, table: Table, notes: list[str]) -> PsrfitsHeader:
    _check_mode(table.primary)
    _check_rows(table, notes)
    cards = table.cards
    nchan, npol, nbits = (integer(cards, key) for key in ("NCHAN", "NPOL", "NBITS"))
    nsblk, tbin_s = integer(cards, "NSBLK"), number(cards, "TBIN")
    _check_cells(table, nchan, npol, nbits, nsblk)
    freqs_mhz = _column(file, table, "DAT_FREQ", nchan)
    written = np.flatnonzero(np.isfinite(freqs_mhz[:, 0]) & (freqs_mhz[:, 0] > 0))
    if not len(written):
        raise InputError(
            "table", "no row was written: all channels are at 0 MHz", "record it again"
        )
    fch1_mhz, foff_mhz = _channels(_read_cell(file, table, table.columns["DAT_FREQ"], written[0]))
    offset_s, row_starts = _times(file, table, written, notes)
    primary = table.primary
    ra_deg, dec_deg = _pointing(primary, notes)
    stream = FilterbankHeader(
        nchans=nchan,
        fch1_mhz=fch1_mhz,
        foff_mhz=foff_mhz,
        tsamp_s=tbin_s,
        tstart_mjd=_start_mjd(primary, offset_s),
        nbits=nbits,
        source_name=str(primary.get("SRC_NAME", "")),
        telescope=str(primary.get("TELESCOP", "")),
        beam=integer(primary, "IBEAM", 0),
        ra_deg=ra_deg,
        dec_deg=dec_deg,
    )
    padded_to = integer(cards, "NSTOT", 0)
    capacity = table.rows * nsblk
    return PsrfitsHeader(
        stream=stream,
        table=table,
        npol=npol,
        summed=_summed(str(cards.get("POL_TYPE", "")), npol),
        nsblk=nsblk,
        signed=nbits == 8 and integer(cards, "SIGNINT", 0) == 1,
        zero_off=number(cards, "ZERO_OFF", 0.0) if nbits <= 8 else 0.0,
        row_starts=row_starts,
        stored=padded_to if 0 < padded_to < capacity else capacity,
    )


def _check_mode(primary: Cards) -> None:
    if primary.get("FITSTYPE") != "PSRFITS":
        raise InputError("file", "is FITS, but not PSRFITS", "give a search-mode PSRFITS file")
    if (mode := primary.get("OBS_MODE")) not in ("SEARCH", "SRCH"):
        folded = "is folded at a pulsar's period" if mode in ("PSR", "CAL", "FON", "FOF") else "is"
        cause = f"{folded} (OBS_MODE = {mode}), not in search mode"
        raise InputError("file", cause, "give the search-mode file (OBS_MODE = SEARCH)")


def _check_rows(table: Table, notes: list[str]) -> None:
    after = table.file_bytes - table.offset
    if table.promised_rows == 0:
        cause = f"its SUBINT table counts no rows, though {after} bytes follow"
        raise FormatError("table", cause, "the recording was cut short: make the file again")
    if table.rows == 0:
        cause = f"a row takes {table.row_bytes} bytes, but only {after} follow the header"
        raise FormatError("table", cause, "copy or record it again")
    if table.rows < table.promised_rows:
        ignored = after - table.rows * table.row_bytes
        notes.append(
            f"{table.rows} of {table.promised_rows} rows are whole; the last {ignored} bytes "
            "are ignored"
        )


def _check_cells(table: Table, nchan: int, npol: int, nbits: int, nsblk: int) -> None:
    """Refuse cells that do not hold what the header says."""
    for key, value, allowed in (("NPOL", npol, (1, 2, 4)), ("NBITS", nbits, (1, 2, 4, 8, 16, 32))):
        if value not in allowed:
            raise FormatError("header", f"{key} = {value}", f"use one of {allowed}")
    if nchan < 1 or nsblk < 1 or nchan * nbits % 8:
        cause = f"NCHAN = {nchan} of {nbits} bits and NSBLK = {nsblk} are not whole spectra"
        raise FormatError("header", cause, _REMEDY)
    counts = {
        "DAT_FREQ": nchan,
        "DAT_WTS": nchan,
        "DAT_OFFS": nchan * npol,
        "DAT_SCL": nchan * npol,
    }
    for name, count in counts.items():
        column = table.columns.get(name)
        if column is None and name != "DAT_FREQ":
            continue
        if column is None or column.count != count or column.code not in "ED" or column.scaled:
            found = "is missing" if column is None else f"holds {column.count} values"
            cause = f"{name} {found}; {npol} polarisations of {nchan} channels need {count}"
            raise FormatError("table", cause, _REMEDY)
    data = table.columns.get("DATA")
    if data is None or data.nbytes != nsblk * npol * nchan * nbits // 8:
        found = "is missing" if data is None else f"holds {data.nbytes} bytes"
        needed = nsblk * npol * nchan * nbits // 8
        raise FormatError("table", f"DATA {found}; a row of spectra needs {needed}", _REMEDY)
    if (nbits == 32) != (data.code == "E") or data.scaled:
        cause = f"DATA of {nbits} bits has TFORM code {data.code}, or is scaled by TZERO"
        raise FormatError("table", cause, _REMEDY)
    _check_order(data, nchan, npol, nsblk, nbits)


def _check_order(data: Column, nchan: int, npol: int, nsblk: int, nbits: int) -> None:
    """Refuse cells of another order than [time][polarisation][channel].

    With packed samples some writers divide the channels by the packing, some the
    spectra, some nothing.
    """
    axes = [int(size) for size in re.findall(r"\d{1,18}", data.dim)]
    if len(axes) == 4 and axes[0] == 1:
        axes = axes[1:]
    if len(axes) == 2:
        axes.insert(1, 1)
    packed = min(8, nbits)
    allowed = ({nchan, nchan * packed // 8}, {npol}, {nsblk, nsblk * packed // 8})
    fits = len(axes) == 3 and all(axis in sizes for axis, sizes in zip(axes, allowed, strict=True))
    if len(axes) > 1 and not fits:
        cause = f"DATA has dimensions {data.dim}, not (channel, polarisation, time)"
        raise FormatError("table", cause, _REMEDY)


def _summed(pol_type: str, npol: int) -> int:
    """Count the products that add up to the intensity."""
    if npol == 1 or pol_type.startswith(("IQUV", "STOKE")):
        return 1
    if pol_type[:4] in ("AABB", "XXYY", "LLRR", "PPQQ", "RRLL", "YYXX", "HHVV"):
        return 2
    cause = f"{npol} polarisations of POL_TYPE {pol_type!r}: what is the intensity?"
    raise FormatError("header", cause, "set POL_TYPE to AABB, AABBCRCI or IQUV")


def _channels(freqs_mhz: Float64Array) -> tuple[float, float]:
    """Give the first channel and the step of evenly spaced channels."""
    steps = max(1, len(freqs_mhz) - 1)
    fch1_mhz, foff_mhz = float(freqs_mhz[0]), float(freqs_mhz[-1] - freqs_mhz[0]) / steps
    off_mhz = float(np.max(np.abs(fch1_mhz + foff_mhz * np.arange(len(freqs_mhz)) - freqs_mhz)))
    # DAT_FREQ is often float32: a few of its steps are no unevenness.
    if not off_mhz <= 0.05 * abs(foff_mhz) + 4 * np.spacing(np.float32(fch1_mhz)):
        cause = f"DAT_FREQ is not evenly spaced: a channel is {off_mhz:.4g} MHz off"
        raise InputError("table", cause, "write the channels in order and evenly spaced")
    return fch1_mhz, foff_mhz


def _pointing(primary: Cards, notes: list[str]) -> tuple[float | None, float | None]:
    """Give right ascension and declination in degrees, where they are told."""
    ra, dec = (str(primary.get(key, "")).strip() for key in ("RA", "DEC"))
    if {ra, dec} <= {"", "*"}:
        return None, None
    ra_deg, dec_deg, flaw = read_pointing(ra, dec, _angle)
    if flaw:
        notes.append(flaw)
    return ra_deg, dec_deg


def _angle(text: str) -> float:
    """Read an angle as the definition has it; a bare number may be hours or degrees."""
    if ":" not in text:
        raise ValueError(f"{text!r:.40} has no colons")
    return parse_sexagesimal(text)


def _start_mjd(primary: Cards, offset_s: float) -> float:
    seconds = number(primary, "STT_SMJD", 0.0) + number(primary, "STT_OFFS", 0.0) + offset_s
    return integer(primary, "STT_IMJD") + seconds / SECONDS_PER_DAY


def _times(
    file: BinaryIO, table: Table, written: NDArray[np.intp], notes: list[str]
) -> tuple[float, Int64Array]:
    """Place the rows in time.

    OFFS_SUB, the time from the start to the middle of a row, decides: a jump of it
    is a gap. Where it does not rise with the rows they are taken as consecutive,
    and the first begins where NSUBOFFS says.

    Returns
    -------
    offset_s
        Start of the first written row in seconds after STT_*.
    row_starts
        As in `PsrfitsHeader`.
    """
    nsblk, tbin_s = integer(table.cards, "NSBLK"), number(table.cards, "TBIN")
    row_starts = np.full(table.rows, -1, np.int64)
    if "OFFS_SUB" in table.columns and tbin_s >= 1e-9:
        offs_s = _column(file, table, "OFFS_SUB", 1)[written, 0]
        steps = np.diff(offs_s) / tbin_s
        if np.all(np.isfinite(offs_s)) and np.all(
            (steps >= nsblk - _TINY_OVERLAP) & (steps * tbin_s <= SECONDS_PER_DAY)
        ):
            steps[steps <= nsblk + 0.5] = nsblk
            row_starts[written] = np.cumsum([0, *np.rint(steps)])
            return max(0.0, float(offs_s[0]) - 0.5 * nsblk * tbin_s), row_starts
    if len(written) > 1:
        notes.append("OFFS_SUB does not rise from row to row: rows are taken as consecutive")
    row_starts[written] = (written - written[0]) * nsblk
    return integer(table.cards, "NSUBOFFS", 0) * nsblk * tbin_s, row_starts


def _column(file: BinaryIO, table: Table, name: str, count: int) -> Float64Array:
    """Read the first number of a cell of every row, shape (rows, 1)."""
    column = table.columns[name]
    if column.code not in "ED" or column.count < 1 <= count:
        raise FormatError("table", f"{name} holds no numbers", _REMEDY)
    first = Column(name, column.code, 1, column.offset, column.nbytes // column.count)
    return np.stack([_read_cell(file, table, first, row) for row in range(table.rows)])


def _read_cell(file: BinaryIO, table: Table, column: Column, row: int) -> Float64Array:
    file.seek(table.offset + row * table.row_bytes + column.offset)
    raw = file.read(column.nbytes)
    if len(raw) < column.nbytes:
        raise FormatError("table", f"row {row} breaks off: the file shrank", "copy it again")
    return np.frombuffer(raw, {"E": ">f4", "D": ">f8"}[column.code]).astype(np.float64)
