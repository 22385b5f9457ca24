"""A list of known sources: who is in the beam and has this DM."""

import csv
import logging
import math
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..formats.angles import DEGREES_PER_HOUR, parse_sexagesimal

logger = logging.getLogger(__name__)

#: All pulsars with these columns take a third of a megabyte.
MOST_BYTES = 8 << 20

#: DMs agree within this fraction of the source's and so much more, or within three of the
#: candidate's errors, if that is more.
DM_FRACTION = 0.005
DM_STEP = 0.5
DM_ERRORS = 3.0

MOST_DM = 1e6

#: What columns may be called, in lower case. Names in all of them count; degrees are taken
#: before hours.
NAMES = ("name", "psrj", "jname", "psrb", "bname", "source", "psr")
RAS = ("rajd", "ra_deg", "ra", "raj")
DECS = ("decjd", "dec_deg", "dec", "decj")
#: In these columns a bare number is hours.
IN_HOURS = ("raj",)

#: What stands where nothing is known.
_UNKNOWN = ("", "*")

#: So many lines that were left out are told one by one.
_TOLD = 5
_REMEDY = (
    "give a table (CSV) with the columns name, RA, Dec and DM, such as psrcat -o short_csv prints"
)

type Float64Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where in a line things stand."""

    names: tuple[int, ...]
    ra: int
    dec: int
    dm: int
    ra_in_hours: bool


@dataclass(frozen=True, slots=True)
class _Source:
    names: tuple[str, ...]
    ra_deg: float
    dec_deg: float
    dm: float


@dataclass(frozen=True, slots=True, eq=False)
class KnownSources:
    """Sources that were read from a table.

    Parameters
    ----------
    names
        One of each source: that of the first column of names.
    directions
        Unit vectors, shape (n, 3).
    dms
        In pc cm^-3, shape (n,).
    called
        Which source has a name, by the name as `_plain` has it.
    left_out
        How many lines could not be used.
    """

    names: tuple[str, ...]
    directions: Float64Array
    dms: Float64Array
    called: dict[str, int] = field(repr=False)
    left_out: int = 0

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read a table with one source a line, separated by commas, semicolons or tabs.

        Lines that cannot be used are left out, with one warning.

        Raises
        ------
        InputError
            Where it cannot be read, lacks a column, or has no usable line.
        """
        rows = _rows(Path(path))
        columns = _columns(path, next(rows, (0, []))[1])
        sources: list[_Source] = []
        flaws: list[str] = []
        for number, cells in rows:
            try:
                sources.append(_source(cells, columns))
            except ValueError as error:
                flaws.append(f"line {number} ({error})")
        if not sources:
            why = f"no line can be used: {flaws[0]}" if flaws else "has no line below its head"
            raise InputError(path, why, _REMEDY)
        if flaws:
            more = f" and {len(flaws) - _TOLD} more" * (len(flaws) > _TOLD)
            logger.warning("%s: left out: %s%s", path, ", ".join(flaws[:_TOLD]), more)
        return cls._of(sources, len(flaws))

    @classmethod
    def _of(cls, sources: Sequence[_Source], left_out: int) -> Self:
        called: dict[str, int] = {}
        for index, source in enumerate(sources):
            for name in source.names:
                called.setdefault(_plain(name), index)
        places = np.array([(source.ra_deg, source.dec_deg) for source in sources])
        dms = np.array([source.dm for source in sources])
        names = tuple(source.names[0] for source in sources)
        return cls(names, _directions(places[:, 0], places[:, 1]), dms, called, left_out)

    def reread(self, path: str | os.PathLike[str]) -> Self:
        """Give the sources of a changed file; these, with a warning, where it is of no use."""
        try:
            return self.read(path)
        except InputError as error:
            logger.warning("%s; the %d sources read before are kept", error, len(self.names))
            return self

    def match(
        self,
        dm: float,
        dm_err: float,
        ra_deg: float | None,
        dec_deg: float | None,
        radius_deg: float,
        *,
        target: str = "",
    ) -> str | None:
        """Name the source in the beam whose DM is nearest, if it agrees.

        Parameters
        ----------
        dm, dm_err
            Of the candidate, in pc cm^-3.
        ra_deg, dec_deg
            The pointing; None where it is not known. Then the source that is called like
            the target is compared, and no other.
        radius_deg
            How far from the pointing a source may be.
        target
            What the observers say they look at.
        """
        tolerance = np.fmax(DM_FRACTION * self.dms + DM_STEP, DM_ERRORS * dm_err)
        agree = np.flatnonzero(np.abs(self.dms - dm) <= tolerance)
        if ra_deg is not None and dec_deg is not None:
            # by chords, which tell small angles well
            middle = _directions(np.array([ra_deg]), np.array([dec_deg]))
            chords = np.linalg.norm(self.directions[agree] - middle, axis=1)
            there = agree[chords <= 2 * math.sin(math.radians(min(radius_deg, 180)) / 2)]
        else:
            there = agree[agree == (self.called.get(_plain(target), -1) if target else -1)]
        if not len(there):
            return None
        return self.names[int(there[np.abs(self.dms[there] - dm).argmin()])]


def _directions(ra_deg: Float64Array, dec_deg: Float64Array) -> Float64Array:
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def _plain(name: str) -> str:
    """Give a name as all would write it: "PSR B0531+21" is b0531+21."""
    return "".join(name.lower().split()).removeprefix("psr").lstrip("_")


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Give the lines, from 1, that are neither blank nor a remark; the first is the head."""
    text = _text(path)
    lines = text.splitlines()
    head = next((line for line in lines if _is_head(line)), "")
    separator = _separator(head)
    if not head:
        raise InputError(path, "has no line that names its columns", _REMEDY)
    begun = False
    for number, line in enumerate(lines, 1):
        is_head = not begun and line == head
        begun |= is_head
        if is_head or (begun and line.strip() and not line.lstrip().startswith("#")):
            cells = _cells(line, separator)
            if is_head or not _are_units(cells):
                yield number, cells


def _cells(line: str, separator: str) -> list[str]:
    """Cut a line; one at a time, so that a quotation mark that never ends spoils no other."""
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=separator), [])]
    except csv.Error:  # a cell of a hundred thousand characters
        return ["?"]


def _text(path: Path) -> str:
    try:
        # A FIFO must be refused before it is opened: opening it would wait for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(path, "is not a regular file", "give a file")
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise InputError(path, cause, "check the name and the permissions") from error
    if len(raw) > MOST_BYTES:
        cause = f"is larger than {MOST_BYTES >> 20} MiB"
        raise InputError(path, cause, "leave only the columns and sources that matter in it")
    return raw.decode("utf-8-sig", "replace").replace("\0", "")


def _separator(head: str) -> str:
    return max(",;\t", key=head.count)


def _is_head(line: str) -> bool:
    cells = {cell.strip(' "#').lower() for cell in line.split(_separator(line))}
    return "dm" in cells or len(cells & {*NAMES, *RAS, *DECS}) > 1


def _are_units(cells: Sequence[str]) -> bool:
    """Whether a line holds nothing but units, as the second one of psrcat does."""
    return all(not cell or (cell[0] == "(" and cell[-1] == ")") for cell in cells)


def _columns(path: object, head: Sequence[str]) -> _Columns:
    """Find the columns by their names."""
    where: dict[str, int] = {}
    for index, cell in enumerate(head):
        where.setdefault(cell.strip("# ").lower(), index)

    def find(name: str, known: Sequence[str]) -> str:
        for one in known:
            if one in where:
                return one
        raise InputError(path, f"has no column {name}", _REMEDY)

    find("name", NAMES)
    ra = find("RA", RAS)
    return _Columns(
        names=tuple(sorted(where[name] for name in NAMES if name in where)),
        ra=where[ra],
        dec=where[find("Dec", DECS)],
        dm=where[find("DM", ("dm",))],
        ra_in_hours=ra in IN_HOURS,
    )


def _source(cells: Sequence[str], columns: _Columns) -> _Source:
    """Make a source of a line, or say with a ValueError why not."""

    def cell(index: int, what: str) -> str:
        if index >= len(cells) or cells[index] in _UNKNOWN:
            raise ValueError(f"{what} is not known")
        return cells[index]

    names = [cells[i] for i in columns.names if i < len(cells) and cells[i] not in _UNKNOWN]
    if not names:
        raise ValueError("no name")
    ra_deg, is_bare = _angle(cell(columns.ra, "RA"))
    if columns.ra_in_hours or not is_bare:
        ra_deg *= DEGREES_PER_HOUR
    dec_deg, _ = _angle(cell(columns.dec, "Dec"))
    if not (0 <= ra_deg <= 360 and -90 <= dec_deg <= 90):
        raise ValueError(f"{ra_deg:g}, {dec_deg:g} degrees is no place on the sky")
    dm = _number(cell(columns.dm, "DM"))
    if dm is None or not 0 <= dm <= MOST_DM:
        raise ValueError(f"DM is {cells[columns.dm]:.20}")
    return _Source(tuple(names), ra_deg, dec_deg, dm)


def _angle(text: str) -> tuple[float, bool]:
    """Give an angle, and whether it is one bare number."""
    bare = _number(text)
    return (parse_sexagesimal(text), False) if bare is None else (bare, True)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
