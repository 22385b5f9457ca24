"""As much of FITS as a strict reader of tables needs (FITS standard 4.0).

Only headers are read here, in bounded pieces; astropy takes half a second to
import, which a check of a file need not pay.
"""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO

from ..errors import FormatError, InputError

BLOCK_BYTES = 2880
MAX_HEADER_BLOCKS = 400
MAX_HDUS = 1000

#: Bytes of one element of a column, by TFORM code.
ELEMENT_BYTES = {"L": 1, "B": 1, "A": 1, "I": 2, "J": 4, "K": 8, "E": 4, "D": 8, "C": 8, "M": 16}
ELEMENT_BYTES |= {"P": 8, "Q": 16}

_STRING = re.compile(r"\s*'((?:[^']|'')*)'")
_TFORM = re.compile(r"(\d{0,18})([A-Z])")
_REMEDY = "make the file again, or repair its header"

type Value = str | int | float | bool
type Cards = dict[str, Value]


@dataclass(frozen=True, slots=True)
class Column:
    """Where a column stands in its row, and what it holds.

    ``scaled`` says that its values must be scaled by TSCAL or TZERO before use.
    """

    name: str
    code: str
    count: int
    offset: int
    nbytes: int
    dim: str = ""
    scaled: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A binary table: its cards, its place in the file, its columns by name."""

    primary: Cards
    cards: Cards
    offset: int
    file_bytes: int
    columns: dict[str, Column]

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return integer(self.cards, "NAXIS1")

    @property
    def promised_rows(self) -> int:
        """Rows that the header counts."""
        return integer(self.cards, "NAXIS2")

    @property
    def rows(self) -> int:
        """Whole rows that the file holds."""
        return min(self.promised_rows, (self.file_bytes - self.offset) // self.row_bytes)


def read_table(path: Path, name: str, where: Mapping[str, Value] | None = None) -> Table:
    """Find the first binary table of a name, with these cards; nothing but headers is read.

    Raises
    ------
    InputError
        Where the file cannot be read, or has no such table.
    FormatError
        Where it is not FITS, or its header is damaged.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(path, "is not a regular file", "give a file")
        with path.open("rb") as file:
            return _find(file, os.fstat(file.fileno()).st_size, name, where or {})
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise InputError(path, cause, "check the name and the permissions") from error


def integer(cards: Cards, key: str, default: int | None = None) -> int:
    """Give the whole number of a card; "*" and blanks count as not given."""
    value = number(cards, key, default)
    if value != int(value):
        raise FormatError("header", f"{key} = {value:g} is not a whole number", _REMEDY)
    return int(value)


def number(cards: Cards, key: str, default: float | None = None) -> float:
    """Give the number of a card; "*" and blanks count as not given."""
    value = cards.get(key)
    if isinstance(value, str | bool) or value is None or not abs(value) < 1e300:
        if default is None:
            cause = f"{key} is missing" if value is None else f"{key} = {value!r} is not a number"
            raise FormatError("header", cause, _REMEDY)
        return default
    return value


def _find(file: BinaryIO, file_bytes: int, name: str, where: Mapping[str, Value]) -> Table:
    primary = cards = _read_cards(file)
    if cards.get("SIMPLE") is not True:
        raise FormatError("header", "is not FITS: SIMPLE is missing", "give a FITS file")
    for _ in range(MAX_HDUS):
        offset = file.tell()
        wanted = {"EXTNAME": name, "XTENSION": "BINTABLE", **where}
        if all(cards.get(key) == value for key, value in wanted.items()):
            return Table(primary, cards, offset, file_bytes, _columns(cards))
        after = offset + -(-_data_bytes(cards) // BLOCK_BYTES) * BLOCK_BYTES
        if after >= file_bytes:
            break
        file.seek(after)
        cards = _read_cards(file)
    remedy = "give a search-mode PSRFITS file" if name == "SUBINT" else _REMEDY
    raise InputError("file", f"has no {name} table", remedy)


def _read_cards(file: BinaryIO) -> Cards:
    cards: Cards = {}
    for _ in range(MAX_HEADER_BLOCKS):
        block = file.read(BLOCK_BYTES).decode("latin-1")
        if len(block) < BLOCK_BYTES:
            break
        for start in range(0, BLOCK_BYTES, 80):
            card = block[start : start + 80]
            key = card[:8].rstrip()
            if key == "END":
                return cards
            if card[8:10] == "= " and (value := _value(card[10:])) is not None:
                cards.setdefault(key, value)
    raise FormatError("header", f"breaks off before END at byte {file.tell()}", _REMEDY)


def _value(text: str) -> Value | None:
    if match := _STRING.match(text):
        return "".join(filter(str.isprintable, match[1].replace("''", "'"))).rstrip()
    token = text.partition("/")[0].strip()
    if token in ("T", "F"):
        return token == "T"
    for kind in (int, float):
        try:
            return kind(token.replace("D", "E"))
        except ValueError:
            continue
    return token or None


def _data_bytes(cards: Cards) -> int:
    """Bytes of the data that follow a header."""
    axes = [integer(cards, f"NAXIS{i + 1}") for i in range(min(integer(cards, "NAXIS"), 999))]
    if not axes:
        return 0
    elements = integer(cards, "GCOUNT", 1) * (integer(cards, "PCOUNT", 0) + prod(axes))
    nbytes = abs(integer(cards, "BITPIX")) // 8 * elements
    if nbytes < 0:
        raise FormatError("header", "a size is negative", _REMEDY)
    return nbytes


def _columns(cards: Cards) -> dict[str, Column]:
    """Lay out the columns of a row; their sum must be the row."""
    columns: dict[str, Column] = {}
    offset = 0
    for i in range(1, min(integer(cards, "TFIELDS"), 999) + 1):
        name, form = str(cards.get(f"TTYPE{i}", "")), str(cards.get(f"TFORM{i}", ""))
        match = _TFORM.match(form)
        if match is None or match[2] not in (*ELEMENT_BYTES, "X"):
            raise FormatError("header", f"column {name} has TFORM {form!r}", _REMEDY)
        count, code = int(match[1] or 1), match[2]
        nbytes = -(-count // 8) if code == "X" else count * ELEMENT_BYTES[code]
        scaled = number(cards, f"TZERO{i}", 0) != 0 or number(cards, f"TSCAL{i}", 1) != 1
        dim = str(cards.get(f"TDIM{i}", ""))
        columns[name] = Column(name, code, count, offset, nbytes, dim, scaled)
        offset += nbytes
    row_bytes = integer(cards, "NAXIS1")
    if offset != row_bytes or offset == 0:
        cause = f"columns of {offset} bytes do not fill rows of {row_bytes} bytes"
        raise FormatError("header", cause, _REMEDY)
    if integer(cards, "NAXIS2") < 0:
        raise FormatError("header", "NAXIS2 is negative", _REMEDY)
    return columns
