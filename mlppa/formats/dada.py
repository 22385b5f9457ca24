"""The header of PSRDADA: keywords and values as text, a pair to a line.

PSRDADA does not say what its data are: that is between who writes and who reads. Read here
are spectra of intensities, a whole spectrum after the other; what says otherwise is refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from ..data import FilterbankHeader
from ..dispersion import SECONDS_PER_DAY
from ..errors import InputError

#: Day number, as `date.toordinal` counts, of MJD 0.
_MJD_0 = 678576

_UTC = re.compile(r"(\d{4})-(\d\d)-(\d\d)[-T](\d\d):(\d\d):(\d\d(?:\.\d+)?)")
_SEXAGESIMAL = re.compile(r"([+-]?)(\d+):(\d+):(\d+(?:\.\d*)?)")
_BITS = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class DadaHeader:
    """What a header says.

    Parameters
    ----------
    stream
        What the data mean; its date is that of sample 0, as ``OBS_OFFSET`` counts.
    offset_bytes
        Bytes of the observation that came before the first one that follows.
    """

    stream: FilterbankHeader
    offset_bytes: int = 0

    @property
    def bytes_per_spectrum(self) -> int:
        """Bytes of one spectrum."""
        return self.stream.nchans * self.stream.nbits // 8


def read_dada_header(text: bytes) -> DadaHeader:
    """Read a header.

    Parameters
    ----------
    text
        All of its block; what stands behind ``HDR_SIZE`` bytes, or a byte of 0, is no part of it.

    Raises
    ------
    InputError
        Where a keyword is missing or makes no sense, or the data are no intensities.
    """
    found = _keywords(text)
    size = _whole(found, "HDR_SIZE", len(text))
    if not 0 < size <= len(text):
        raise _refused(f"HDR_SIZE is {size}, in a block of {len(text)} bytes")
    if size < len(text):
        found = _keywords(text[:size])
    _check_layout(found)
    nchans, nbits = _whole(found, "NCHAN"), _whole(found, "NBIT")
    if nbits not in _BITS or nchans < 2 or nchans * nbits % 8:
        cause = f"{nchans} channels of {nbits} bits: no whole bytes of known numbers"
        raise _refused(cause)
    foff_mhz = _number(found, "BW") / nchans
    offset = _whole(found, "OBS_OFFSET", 0)
    if offset < 0:
        raise _refused(f"OBS_OFFSET is {offset}")
    beam = found.get("BEAM", "")
    stream = FilterbankHeader(
        nchans=nchans,
        fch1_mhz=_number(found, "FREQ") - foff_mhz * (nchans - 1) / 2,
        foff_mhz=foff_mhz,
        tsamp_s=_number(found, "TSAMP") * 1e-6,
        tstart_mjd=_start_mjd(found),
        nbits=nbits,
        source_name=found.get("SOURCE", ""),
        telescope=found.get("TELESCOPE", ""),
        beam=int(beam) if beam.isdecimal() and len(beam) < 10 else 0,
        ra_deg=_degrees(found.get("RA", ""), 15.0),
        dec_deg=_degrees(found.get("DEC", ""), 1.0),
    )
    return DadaHeader(stream=stream, offset_bytes=offset)


def _refused(cause: str) -> InputError:
    return InputError("header", cause, "let the recorder write what the page on sources describes")


def _keywords(text: bytes) -> dict[str, str]:
    """Give the first word behind each keyword.

    A keyword that stands there twice counts once: the first, as in PSRDADA.
    """
    found: dict[str, str] = {}
    for line in text.split(b"\0")[0].decode("ascii", "replace").splitlines():
        words = line.partition("#")[0].split()
        if len(words) > 1:
            found.setdefault(words[0], words[1])
    return found


def _check_layout(found: Mapping[str, str]) -> None:
    for name, meaning in (("NPOL", "summed polarisations"), ("NDIM", "real numbers")):
        if _whole(found, name) != 1:
            raise _refused(f"{name} is {found[name]}; only {meaning} ({name} 1) are understood")
    if found.get("ORDER", "TF") != "TF":
        raise _refused(f"ORDER is {found['ORDER']}; only whole spectra in turn (TF) are understood")


def _said(found: Mapping[str, str], name: str) -> str:
    if name not in found:
        raise _refused(f"{name} is missing")
    return found[name]


def _whole(found: Mapping[str, str], name: str, without: int | None = None) -> int:
    """Give a whole number; 8 and 8.0 are the same."""
    if without is not None and name not in found:
        return without
    try:
        return int(_said(found, name))
    except ValueError:
        number = _number(found, name)
    if not number.is_integer():
        raise _refused(f"{name} is {found[name]:.40}, not a whole number")
    return int(number)


def _number(found: Mapping[str, str], name: str) -> float:
    try:
        return float(_said(found, name))
    except ValueError as error:
        raise _refused(f"{name} is {found[name]:.40}, not a number") from error


def _start_mjd(found: Mapping[str, str]) -> float:
    """Give the date of sample 0; UTC_START counts before MJD_START, which is often rounded."""
    utc = _UTC.fullmatch(found.get("UTC_START", ""))
    if utc is None:
        if "MJD_START" not in found:
            raise _refused(f"UTC_START is {found.get('UTC_START', 'missing'):.40}, and no date")
        return _number(found, "MJD_START")
    year, month, day, hour, minute = map(int, utc.groups()[:5])
    seconds = float(utc[6]) + _number({"PICOSECONDS": "0", **found}, "PICOSECONDS") * 1e-12
    try:
        days = date(year, month, day).toordinal() - _MJD_0
    except ValueError as error:
        raise _refused(f"UTC_START is {utc[0]}: {error}") from error
    if hour > 23 or minute > 59 or seconds >= 61:
        raise _refused(f"UTC_START is {utc[0]}, and no time")
    return days + (hour * 3600 + minute * 60 + seconds) / SECONDS_PER_DAY


def _degrees(text: str, unit: float) -> float | None:
    """Read hours or degrees with minutes and seconds; None where it is something else."""
    parts = _SEXAGESIMAL.fullmatch(text)
    if parts is None:
        return None
    size = int(parts[2]) + int(parts[3]) / 60 + float(parts[4]) / 3600
    return (-size if parts[1] == "-" else size) * unit
