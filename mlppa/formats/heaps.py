"""What live senders and receivers agree on: the header of a stream as text, and heaps.

A heap is a block of a fixed number of spectra. Over SPEAD and ZeroMQ alike, the header
travels as one JSON object with the fields of `FilterbankHeader`, at the beginning and again
every second: whoever comes later knows it soon.
"""

import json
from dataclasses import asdict, fields
from typing import Any

import numpy as np
from pydantic_core import from_json

from ..data import FilterbankHeader
from ..errors import InputError

#: Longer texts are no headers.
LONGEST_HEADER = 4096

#: How often a sender repeats the header.
HEADER_EVERY_S = 1.0

#: Number type of a sample by the bits that the header tells. Fewer bits than eight travel
#: unpacked, as 8.
DTYPES: dict[int, np.dtype[Any]] = {8: np.dtype("u1"), 16: np.dtype("<u2"), 32: np.dtype("<f4")}

_FIELDS = {field.name: field.type for field in fields(FilterbankHeader)}
_MEND = "send the header that the page on sources describes"


def sample_type(nbits: int) -> np.dtype[Any]:
    """Give the number type that samples of so many bits travel as."""
    return DTYPES[max(nbits, 8)]


def pack_stream_header(header: FilterbankHeader) -> bytes:
    """Give a header as text."""
    return json.dumps(asdict(header), allow_nan=False).encode()


def read_stream_header(text: bytes) -> FilterbankHeader:
    """Read a header; fields that are not known are ignored.

    Raises
    ------
    InputError
        Where it is not a JSON object, misses a field, or makes no sense.
    """
    if len(text) > LONGEST_HEADER:
        raise InputError("header", f"{len(text)} bytes are no header", _MEND)
    try:
        said = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise InputError("header", f"not JSON ({error})", _MEND) from error
    if not isinstance(said, dict):
        raise InputError("header", "not a JSON object", _MEND)
    values = {name: said[name] for name in _FIELDS if name in said}
    for name, value in values.items():
        if not _fits(name, value):
            raise InputError("header", f"{name} is {value!r:.60}", _MEND)
    try:
        header = FilterbankHeader(**values)
    except TypeError as error:
        missing = [name for name in ("nchans", "fch1_mhz", "foff_mhz", "tsamp_s", "tstart_mjd")]
        cause = f"it misses {', '.join(name for name in missing if name not in values)}"
        raise InputError("header", cause, _MEND) from error
    if header.beam < 0:
        raise InputError("header", f"beam is {header.beam}", _MEND)
    if header.nbits not in (1, 2, 4, 8, 16, 32):
        raise InputError("header", f"nbits is {header.nbits}", _MEND)
    return header


def _fits(name: str, value: object) -> bool:
    """Whether a value has the type of its field."""
    if name in ("source_name", "telescope"):
        return isinstance(value, str)
    if name in ("nchans", "nbits", "beam"):
        return isinstance(value, int) and not isinstance(value, bool)
    if value is None:
        return name in ("ra_deg", "dec_deg")
    return isinstance(value, int | float) and not isinstance(value, bool)
