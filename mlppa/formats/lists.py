"""Lists of candidates that other searches write: TransientX, heimdall, PRESTO, CSV.

Their DMs are brought to our dispersion constant here, at the border. A line that cannot be
read is a `Flaw` with its number, and the others are read.
"""

import csv
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from ..data import HIGHEST_MHZ, LAST_MJD, Listed
from ..dispersion import K_DM
from ..errors import FormatError, InputError

#: What others take for `dispersion.K_DM`: TransientX (constants.h of its XLibs) and PRESTO
#: (dispersion.c) 1 / 2.41e-4, heimdall what its library dedisp has (Barsdell et al.
#: 2012, MNRAS 422, 379, its kernels).
K_TRANSIENTX = K_PRESTO = 1 / 2.41e-4
K_HEIMDALL = 4.15e3

#: Nothing beyond is a pulse: a list that says so is damaged.
MOST_DM = 1e5
MOST_WIDTH_MS = 1e4
MOST_TIME_S = 1e9
MOST_SNR = 1e9
MOST_SAMPLES = 1 << 31

#: What heimdall counts samples with; a count before the first sample is as far below these.
WRAPS = (1 << 32, 1 << 64)

#: A line may be so long.
LONGEST_LINE = 10_000

#: Columns of a CSV, by the names that it may give them. FETCH and your write ``stime`` and the
#: logarithm of the width in samples.
NAMES: Mapping[str, tuple[str, ...]] = {
    "time_s": ("time_s", "stime", "tcand"),
    "mjd": ("mjd",),
    "dm": ("dm",),
    "width_ms": ("width_ms",),
    "log2_width": ("width", "log2_width"),
    "snr": ("snr", "sigma"),
    "f_lo_mhz": ("f_lo_mhz", "fl", "f_lo"),
    "f_hi_mhz": ("f_hi_mhz", "fh", "f_hi"),
    "beam": ("beam",),
    "file": ("file",),
}

_REMEDY = "give a .cands, .cand or .singlepulse list, or a CSV whose first line names columns"


@dataclass(frozen=True, slots=True)
class Flaw:
    """A line that is not as it should be.

    Parameters
    ----------
    path, line
        Where; lines count from 1.
    cause
        What is wrong.
    kept
        Whether its candidate is used all the same.
    """

    path: str
    line: int
    cause: str
    kept: bool = False

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.cause}"


class LineError(ValueError):
    """A line is no candidate; the text says why."""


type Parse = Callable[[str], tuple[Listed, str | None]]


class ListReader:
    """Turns the lines of one list into candidates, in the order in which they come.

    Parameters
    ----------
    path
        Of the list: its name tells what wrote it, or else its first lines do.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._number = 0
        self._parse: Parse | None = _by_name(path)

    def read(self, line: str) -> Listed | Flaw | tuple[Listed, Flaw] | None:
        """Give what a line holds; None for one that is empty, a comment or a heading."""
        self._number += 1
        text = line.strip("\r\n\ufeff \t")
        if not text or text.startswith("#"):
            if self._parse is None and text.upper().split()[:3] == ["#", "DM", "SIGMA"]:
                self._parse = _presto
            return None
        try:
            if len(text) > LONGEST_LINE:
                raise LineError(f"a line of more than {LONGEST_LINE} characters")
            if self._parse is None:
                self._parse = _by_content(text)
                if "," in text:
                    return None
            listed, remark = self._parse(text)
        except LineError as error:
            return Flaw(str(self.path), self._number, str(error))
        listed = replace(listed, path=str(self.path), line=self._number)
        if remark is None:
            return listed
        return listed, Flaw(str(self.path), self._number, remark, kept=True)


def read_list(path: Path) -> Iterator[Listed | Flaw]:
    """Read a whole list; a line that is used in spite of a flaw gives both.

    Raises
    ------
    InputError
        Where it cannot be read, or nothing in it is a candidate.
    """
    reader = ListReader(path)
    first: Flaw | None = None
    good = False
    try:
        with path.open("rb") as file:
            while raw := _line(file):
                found = reader.read(raw.decode("utf-8", "replace"))
                parts = found if isinstance(found, tuple) else (found,)
                for part in parts:
                    good |= isinstance(part, Listed)
                    if isinstance(part, Flaw):
                        first = first or part
                    if part is not None:
                        yield part
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", _REMEDY) from error
    if first is not None and not good:
        cause = f"no line is a candidate; line {first.line}: {first.cause}"
        raise FormatError(path, cause, _REMEDY)


def _line(file: BinaryIO) -> bytes:
    """Read a line; of one that is too long so much that it shows."""
    line = file.readline(LONGEST_LINE + 2)
    rest = line
    while rest and not rest.endswith(b"\n"):
        rest = file.readline(1 << 20)
    return line


def _by_name(path: Path) -> Parse | None:
    return {
        ".cands": _transientx,
        ".cand": _heimdall,
        ".singlepulse": _presto,
    }.get(path.suffix.lower())


def _by_content(text: str) -> Parse:
    """Tell what wrote a line that is the first of its list."""
    if "," in text:
        return _csv(text)
    count = len(text.split())
    if count == 11:
        return _transientx
    if count in (9, 12, 13, 14, 15):
        return _heimdall
    if count == 5:
        return _presto
    raise LineError(f"{count} columns are of no list that is known")


def _transientx(text: str) -> tuple[Listed, str | None]:
    """Beam, number, MJD, DM, width in ms, S/N, both ends of the band, plot, plan, file."""
    words = text.split("\t")
    if len(words) != 11:
        words = text.split()
    if len(words) != 11:
        raise LineError(f"{len(words)} columns instead of 11")
    beam, _, mjd, dm, width, snr, low, high, plot, _, file = words
    low_mhz, high_mhz = sorted(
        (_within(low, "fl", 0, HIGHEST_MHZ), _within(high, "fh", 0, HIGHEST_MHZ))
    )
    listed = Listed(
        dm=_dm(dm, K_TRANSIENTX),
        width_ms=_within(width, "width", 0.0, MOST_WIDTH_MS),
        snr=_snr(snr),
        mjd=_within(mjd, "MJD", 0.0, LAST_MJD),
        f_lo_mhz=low_mhz,
        f_hi_mhz=high_mhz,
        beam=beam,
        file=file,
        plot=plot,
    )
    return listed, _remark(listed)


def _heimdall(text: str) -> tuple[Listed, str | None]:
    """S/N, sample, time in s, log2 of the width in samples, trial, DM, and more."""
    words = text.split()
    if len(words) < 6:
        raise LineError(f"{len(words)} columns instead of 9 or more")
    snr, sample, time, log2_width, _, dm, *_ = words
    count, remark = _integer(sample, "sample"), None
    time_s: float | None = _number(time, "time")
    wrap = next((wrap for wrap in WRAPS if wrap // 2 <= count < wrap), None)
    if wrap is not None:
        count, time_s = count - wrap, None
        remark = f"sample {sample} is taken for {count}: it has wrapped"
    if time_s is not None:
        time_s = _within(time, "time", -MOST_TIME_S, MOST_TIME_S)
    elif count < -MOST_SAMPLES:
        raise LineError(f"the sample is {sample}")
    listed = Listed(
        dm=_dm(dm, K_HEIMDALL),
        width_samples=1 << int(_within(log2_width, "filter", 0, 24)),
        snr=_snr(snr),
        time_s=time_s,
        sample=count,
    )
    return listed, remark or _remark(listed)


def _presto(text: str) -> tuple[Listed, str | None]:
    """DM, S/N, time in s, sample, width in samples."""
    words = text.split()
    if len(words) < 5:
        raise LineError(f"{len(words)} columns instead of 5")
    dm, sigma, time, sample, width = words[:5]
    listed = Listed(
        dm=_dm(dm, K_PRESTO),
        width_samples=int(_within(width, "downfact", 1, 1 << 24)),
        snr=_snr(sigma),
        time_s=_within(time, "time", -MOST_TIME_S, MOST_TIME_S),
        sample=_integer(sample, "sample"),
    )
    return listed, _remark(listed)


def _csv(heading: str) -> Parse:
    """Read columns by the names in the first line."""
    names = [name.strip().lower() for name in _cells(heading)]
    place = {
        field: names.index(name)
        for field, known in NAMES.items()
        for name in known
        if name in names
    }
    if "dm" not in place or not {"mjd", "time_s"} & place.keys():
        raise LineError("the first line names no dm and mjd or time_s")

    def parse(text: str) -> tuple[Listed, str | None]:
        words = _cells(text)
        if len(words) != len(names):
            raise LineError(f"{len(words)} columns instead of {len(names)}")
        said = {field: words[at].strip() for field, at in place.items() if words[at].strip()}
        if "dm" not in said or not {"mjd", "time_s"} & said.keys():
            raise LineError("no dm, or neither mjd nor time_s")

        def within(field: str, low: float, high: float) -> float | None:
            return _within(said[field], field, low, high) if field in said else None

        log2_width = within("log2_width", 0, 24)
        listed = Listed(
            dm=_dm(said["dm"], K_DM),
            mjd=within("mjd", 0, LAST_MJD),
            time_s=within("time_s", -MOST_TIME_S, MOST_TIME_S),
            width_ms=within("width_ms", 0, MOST_WIDTH_MS),
            width_samples=None if log2_width is None else 1 << int(log2_width),
            snr=_snr(said["snr"]) if "snr" in said else None,
            f_lo_mhz=within("f_lo_mhz", 0, HIGHEST_MHZ),
            f_hi_mhz=within("f_hi_mhz", 0, HIGHEST_MHZ),
            beam=said.get("beam"),
            file=said.get("file"),
        )
        return listed, _remark(listed)

    return parse


def _cells(text: str) -> list[str]:
    try:
        return next(csv.reader([text]), [])
    except csv.Error as error:
        raise LineError(f"no line of a CSV ({error})") from None


def _remark(listed: Listed) -> str | None:
    """Say what is odd about a candidate that is used all the same."""
    if listed.width_ms == 0:
        return "a width of 0 is taken for one sample"
    if listed.snr is None:
        return "its S/N is not a number that can be"
    return None


def _snr(word: str) -> float | None:
    """Read an S/N; None where it is infinite, as heimdall has it where there is no noise."""
    try:
        value = float(word)
    except ValueError:
        raise LineError(f"the S/N is {word[:40]!r}, no number") from None
    return value if abs(value) <= MOST_SNR else None


def _dm(word: str, constant: float) -> float:
    return _within(word, "DM", 0.0, MOST_DM) * constant / K_DM


def _within(word: str, what: str, low: float, high: float) -> float:
    value = _number(word, what)
    if not low <= value <= high:
        raise LineError(f"the {what} is {word[:40]}, not between {low:g} and {high:g}")
    return value


def _number(word: str, what: str) -> float:
    try:
        value = float(word)
    except ValueError:
        raise LineError(f"the {what} is {word[:40]!r}, no number") from None
    if not math.isfinite(value):
        raise LineError(f"the {what} is {word[:40]}")
    return value


def _integer(word: str, what: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise LineError(f"the {what} is {word[:40]!r}, no whole number") from None
