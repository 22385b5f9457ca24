"""The SIGPROC header: a strict reader that checks sizes before it allocates.

A header is a row of keywords, each a length-prefixed string, followed by a value
whose type only the keyword tells (Lorimer, SIGPROC manual; ``read_header.c`` of
its descendants). An unknown keyword can therefore not be skipped by rule: every
reading of its value is tried, and the one that leads to HEADER_END is taken.
"""

import heapq
import logging
import os
import re
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..data import FilterbankHeader
from ..errors import FormatError, InputError
from .angles import DEGREES_PER_HOUR, pack_angle, parse_packed, read_pointing

logger = logging.getLogger(__name__)

MAX_HEADER_BYTES = 1 << 16
MAX_STRING_BYTES = 4096

#: Struct codes of the values of known keywords; "s" is a length-prefixed string.
KEYWORDS = {
    **dict.fromkeys(("machine_id", "telescope_id", "data_type", "barycentric"), "i"),
    **dict.fromkeys(("pulsarcentric", "nbits", "nsamples", "nchans", "nifs", "nbins"), "i"),
    **dict.fromkeys(("nbeams", "ibeam"), "i"),
    **dict.fromkeys(("az_start", "za_start", "src_raj", "src_dej", "tstart", "tsamp"), "d"),
    **dict.fromkeys(("fch1", "foff", "fchannel", "refdm", "period"), "d"),
    **dict.fromkeys(("rawdatafile", "source_name"), "s"),
    **dict.fromkeys(("FREQUENCY_START", "FREQUENCY_END"), ""),
    "signed": "b",
}

_NINE = ("Fake", "Arecibo", "Ooty", "Nancay", "Parkes", "Jodrell", "GBT", "GMRT", "Effelsberg")
#: Numbers on which SIGPROC, PRESTO and sigpyproc agree.
TELESCOPES = dict(enumerate(_NINE)) | {11: "LOFAR", 64: "MeerKAT"}

_MAGIC = {
    b"\x1f\x8b": ("is compressed with gzip", "gunzip it first"),
    b"BZh": ("is compressed with bzip2", "bunzip2 it first"),
    b"\xfd7zXZ": ("is compressed with xz", "unxz it first"),
    b"SIMPLE  =": ("is a FITS file", "read it as PSRFITS"),
}
_START = b"\x0c\x00\x00\x00HEADER_START"
_KEYWORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_.\-]{0,63}")
_REMEDY = "make the file again, or correct its header"

type Value = int | float | str
type Field = tuple[str, bytes]
#: By offset: unknown keywords so far, whether no other way is as good, the offset
#: before, the field between.
type Visited = dict[int, tuple[int, bool, int, Field]]


class ShortHeaderError(FormatError):
    """The file ends before its header does: it may still be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigprocHeader:
    """A header that was checked against its file.

    Parameters
    ----------
    stream
        What the data mean.
    nifs
        Intensities or polarisation products of each spectrum: 1, 2 or 4.
    signed
        Whether samples of 8 bits are two's complement.
    header_bytes, data_bytes
        Size of the header and of what follows it.
    notes
        What is odd about the file without hindering its use.
    """

    stream: FilterbankHeader
    nifs: int = 1
    signed: bool = False
    header_bytes: int
    data_bytes: int
    notes: tuple[str, ...] = ()

    @property
    def bytes_per_spectrum(self) -> int:
        """Bytes of one spectrum, all IFs."""
        return self.stream.nchans * self.nifs * self.stream.nbits // 8

    @property
    def nsamples(self) -> int:
        """Whole spectra in the file; the keyword of that name is not trusted."""
        return self.data_bytes // self.bytes_per_spectrum

    @property
    def ignored_bytes(self) -> int:
        """Bytes after the last whole spectrum."""
        return self.data_bytes % self.bytes_per_spectrum


def read_header(path: str | os.PathLike[str], *, growing: bool = False) -> SigprocHeader:
    """Read and check the header of a filterbank file; oddities make one warning.

    Parameters
    ----------
    growing
        Whether the file is still being written: its size then says nothing yet, is not
        compared with the header, and ``data_bytes`` is only what is there now.

    Raises
    ------
    InputError
        Where the file cannot be read, or holds something else than spectra.
    FormatError
        Where the header is damaged or breaks a limit; ShortHeaderError where it may only
        need more bytes.
    """
    start, size = _first_bytes(Path(path))
    try:
        header_bytes, fields = _walk(start)
        values, unknown = _values(fields)
        header = _checked(values, unknown, header_bytes, size)
        header = replace(header, notes=_notes(header, values, unknown, growing=growing))
    except InputError as error:
        raise type(error)(path, error.cause, error.remedy) from None
    if header.notes:
        logger.warning("%s: %s", path, "; ".join(header.notes))
    return header


def pack_header(
    header: FilterbankHeader, *, nifs: int = 1, signed: bool = False, nsamples: int | None = None
) -> bytes:
    """Make the bytes that stand before the samples of a SIGPROC file.

    Raises
    ------
    InputError
        Where SIGPROC cannot hold these data.
    """
    _check_layout(header.nchans, header.nbits, nifs)
    numbers = {name: number for number, name in TELESCOPES.items()}
    values: dict[str, Value] = {
        "source_name": header.source_name,
        "machine_id": 0,
        "telescope_id": numbers.get(header.telescope, 0),
        "data_type": 1,
        "fch1": header.fch1_mhz,
        "foff": header.foff_mhz,
        "nchans": header.nchans,
        "nbits": header.nbits,
        "tstart": header.tstart_mjd,
        "tsamp": header.tsamp_s,
        "nifs": nifs,
        "ibeam": header.beam,
    }
    if not header.source_name:
        del values["source_name"]
    if header.ra_deg is not None and header.dec_deg is not None:
        # rounded, so that no hour is 24
        values["src_raj"] = pack_angle(round(header.ra_deg, 9) % 360 / DEGREES_PER_HOUR)
        values["src_dej"] = pack_angle(header.dec_deg)
    if signed:
        values["signed"] = 1
    if nsamples is not None:
        values["nsamples"] = nsamples
    return _START + b"".join(map(_packed, values, values.values())) + _string("HEADER_END")


def _string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<i", len(encoded)) + encoded


def _packed(keyword: str, value: Value) -> bytes:
    if isinstance(value, str):
        return _string(keyword) + _string(value)
    return _string(keyword) + struct.pack(f"<{KEYWORDS[keyword]}", value)


def _first_bytes(path: Path) -> tuple[bytes, int]:
    """Give the bytes that may be header, and the size of the file."""
    try:
        # A FIFO must be refused before it is opened: opening it would wait for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(path, "is not a regular file", "give a file")
        with path.open("rb") as file:
            return file.read(MAX_HEADER_BYTES), os.fstat(file.fileno()).st_size
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise InputError(path, cause, "check the name and the permissions") from error


def _walk(start: bytes) -> tuple[int, list[Field]]:
    """Find the fields between HEADER_START and HEADER_END.

    Offsets are visited in rising order; each keeps its best predecessor, that with
    the fewest unknown keywords on the way.
    """
    if not start.startswith(_START):
        _refuse_start(start)
    offset = len(_START)
    best: Visited = {offset: (0, True, 0, ("", b""))}
    queue = [offset]
    trouble = ""
    ended = False
    while queue:
        offset = heapq.heappop(queue)
        try:
            keyword, after = _read_keyword(start, offset)
        except (EOFError, ValueError) as error:
            trouble = str(error)
            ended |= isinstance(error, EOFError)
            continue
        if keyword == "HEADER_END":
            return after, _trace(best, offset)
        guesses = best[offset][0] + (keyword not in KEYWORDS)
        for end in set(_value_ends(start, keyword, after)):
            field = (keyword, start[after:end])
            known = best.get(end)
            if known is None:
                heapq.heappush(queue, end)
            if known is None or guesses < known[0]:
                best[end] = (guesses, best[offset][1], offset, field)
            elif guesses == known[0]:
                best[end] = (known[0], False, *known[2:])
    # Where one reading of unknown keywords leads to the end of the file, it may be the right one.
    kind = ShortHeaderError if ended and len(start) < MAX_HEADER_BYTES else FormatError
    raise kind("header", trouble, _REMEDY)


def _refuse_start(start: bytes) -> None:
    if not start:
        raise ShortHeaderError("header", "is empty (0 bytes)", "copy or record it again")
    if _START.startswith(start):
        raise ShortHeaderError("header", f"the header breaks off at byte {len(start)}", _REMEDY)
    for magic, (cause, remedy) in _MAGIC.items():
        if start.startswith(magic):
            raise FormatError("header", cause, remedy)
    cause = "is not a SIGPROC filterbank: HEADER_START is missing"
    raise FormatError("header", cause, "give a filterbank (.fil) or search-mode PSRFITS file")


def _read_keyword(start: bytes, offset: int) -> tuple[str, int]:
    """Read the keyword at an offset; ValueError says why there is none, EOFError that it ends."""
    length = int.from_bytes(start[offset : offset + 4], "little")
    end = offset + 4 + length
    if length > 80:
        raise ValueError(f"a keyword of {length} bytes at byte {offset}")
    if max(end, offset + 5) > len(start):
        raise EOFError(f"the header breaks off at byte {len(start)}")
    if not _KEYWORD.fullmatch(start, offset + 4, end):
        raise ValueError(f"no keyword at byte {offset}")
    return start[offset + 4 : end].decode(), end


def _value_ends(start: bytes, keyword: str, after: int) -> Iterator[int]:
    """Give each offset where the value of a keyword may end."""
    kind = KEYWORDS.get(keyword)
    if kind is None or kind == "s":
        end = after + 4 + int.from_bytes(start[after : after + 4], "little")
        # A number can pose as the length of a text that swallows the next keywords.
        plausible = kind == "s" or _text(start[after + 4 : end]).isprintable()
        if end - after <= MAX_STRING_BYTES and plausible:
            yield end
    if kind != "s":
        sizes = (0, 1, 4, 8) if kind is None else (struct.calcsize(f"<{kind}"),)
        yield from (after + size for size in sizes)


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode("utf-8", "replace")


def _trace(best: Visited, offset: int) -> list[Field]:
    """Follow the best predecessors back to HEADER_START."""
    fields: list[Field] = []
    if not best[offset][1]:
        raise FormatError("header", "an unknown keyword can be read in two ways", _REMEDY)
    while offset != len(_START):
        _, _, offset, field = best[offset]
        fields.append(field)
    return fields[::-1]


def _values(fields: list[Field]) -> tuple[dict[str, Value], list[str]]:
    """Decode the values of known keywords, and name the unknown ones."""
    values: dict[str, Value] = {}
    unknown: list[str] = []
    for keyword, raw in fields:
        kind = KEYWORDS.get(keyword)
        if keyword == "FREQUENCY_START":
            cause = "the channels stand in a frequency table (FREQUENCY_START)"
            raise FormatError("header", cause, "rewrite the file with fch1 and foff")
        if kind is None:
            unknown.append(keyword)
            continue
        if kind == "s":
            value: Value = "".join(filter(str.isprintable, _text(raw[4:]))).strip()
        else:
            value = struct.unpack(f"<{kind}", raw)[0]
        # Compared as text, so that NaN equals itself.
        if str(values.setdefault(keyword, value)) != str(value):
            raise FormatError("header", f"{keyword} stands twice, with two values", _REMEDY)
    return values, unknown


def _check_layout(nchans: int, nbits: int, nifs: int) -> None:
    if nbits not in (1, 2, 4, 8, 16, 32):
        raise FormatError("header", f"nbits = {nbits}", "use 1, 2, 4, 8, 16 or 32 bits")
    if nifs not in (1, 2, 4):
        raise FormatError("header", f"nifs = {nifs}", "use 1, 2 or 4 IFs")
    if nchans * nifs * nbits % 8:
        cause = f"a spectrum of {nchans} x {nifs} samples of {nbits} bits is not whole bytes"
        raise FormatError("header", cause, "use a multiple of 8 channels")


def _pointing(values: dict[str, Value]) -> tuple[float | None, float | None, str]:
    """Give right ascension and declination in degrees, and what is wrong with them."""
    raj, dej = (float(values.get(keyword, 0.0)) for keyword in ("src_raj", "src_dej"))
    return read_pointing(raj, dej, parse_packed)


def _checked(
    values: dict[str, Value], unknown: list[str], header_bytes: int, size: int
) -> SigprocHeader:
    """Check what the header says against its limits and the size of the file."""
    # `your` writes 0 where it does not know the type.
    if (kind := values.get("data_type", 1)) not in (0, 1):
        what = "a dedispersed time series" if kind == 2 else "not a filterbank"
        raise InputError("header", f"holds {what} (data_type {kind})", "give a filterbank file")
    for keyword in ("nchans", "nbits", "tsamp", "fch1", "foff"):
        if keyword not in values:
            raise FormatError("header", f"{keyword} is missing", _REMEDY)
    number = int(values.get("telescope_id", -1))
    ra_deg, dec_deg, _ = _pointing(values)
    stream = FilterbankHeader(
        nchans=int(values["nchans"]),
        fch1_mhz=float(values["fch1"]),
        foff_mhz=float(values["foff"]),
        tsamp_s=float(values["tsamp"]),
        tstart_mjd=float(values.get("tstart", 0.0)),
        nbits=int(values["nbits"]),
        source_name=str(values.get("source_name", "")),
        telescope=TELESCOPES.get(number, f"SIGPROC {number}" if number > 0 else ""),
        beam=int(values.get("ibeam", 0)),
        ra_deg=ra_deg,
        dec_deg=dec_deg,
    )
    nifs = int(values.get("nifs", 1))
    _check_layout(stream.nchans, stream.nbits, nifs)
    return SigprocHeader(
        stream=stream,
        nifs=nifs,
        signed=stream.nbits == 8 and int(values.get("signed", 0)) > 0,
        header_bytes=header_bytes,
        data_bytes=max(0, size - header_bytes),
    )


def _notes(
    header: SigprocHeader, values: dict[str, Value], unknown: list[str], *, growing: bool
) -> tuple[str, ...]:
    """Say what is odd about a header that is good enough."""
    _, _, flaw = _pointing(values)
    notes = [flaw] if flaw else []
    if unknown:
        more = f" and {len(unknown) - 5} more" * (len(unknown) > 5)
        notes.append(f"unknown header keyword {', '.join(unknown[:5])}{more} skipped")
    if "tstart" not in values:
        notes.append("tstart is missing: dates count from MJD 0")
    if growing:
        return tuple(notes)
    promised = int(values.get("nsamples", 0))
    if promised > 0 and promised != header.nsamples:
        notes.append(f"nsamples says {promised}, the file holds {header.nsamples} spectra")
    if header.ignored_bytes:
        notes.append(
            f"{header.nsamples} whole spectra; the last {header.ignored_bytes} bytes are ignored"
        )
    return tuple(notes)
