"""Positions on the sky as headers and catalogues write them.

Sexagesimal angles come as text (``05:34:31.97``, ``05h34m31.97s``, ``-00 12 30``) or, in
SIGPROC, as one number (``53431.97``, ``-1230.0``). They are in the unit of their first
part: degrees, or hours where a right ascension is meant.
"""

import math
import re
from collections.abc import Callable

DEGREES_PER_HOUR = 15.0

_TEXT = re.compile(
    r"([+-]?)(\d{1,3}(?:\.\d*)?)"
    r"(?:(?:\s*[:hd]\s*|\s+)(\d{1,2}(?:\.\d*)?)(?:(?:\s*[:m']\s*|\s+)(\d{1,2}(?:\.\d*)?))?)?\s*[dms\"']?"
)
#: More digits than any telescope points by, and few enough that a second is never 60.
_DIGITS = 7


def parse_sexagesimal(text: str) -> float:
    """Read an angle of one to three parts; its unit is that of the first.

    Raises
    ------
    ValueError
        Where it is none: a minute or second of 60 or more, other signs, a fraction in
        front of another part.
    """
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r:.40} is no angle such as 05:34:31.9")
    sign, *parts = match.groups()
    given = [part for part in parts if part is not None]
    if any("." in part for part in given[:-1]):
        raise ValueError(f"{text!r:.40} has a fraction in front of its last part")
    first, minutes, seconds = map(float, [*given, "0", "0"][:3])
    return _joined(-1.0 if sign == "-" else 1.0, first, minutes, seconds)


def parse_packed(value: float) -> float:
    """Read an angle as SIGPROC has it: 53431.97 stands for 5, 34 and 31.97.

    Raises
    ------
    ValueError
        Where it is not finite, or a minute or a second is 60 or more.
    """
    if not math.isfinite(value):
        raise ValueError(f"{value} is no angle")
    # not `value < 0`: the degrees may be -0
    sign, size = math.copysign(1.0, value), abs(value)
    return _joined(sign, size // 10000, size % 10000 // 100, size % 100)


def pack_angle(angle: float) -> float:
    """Write an angle as SIGPROC has it; the inverse of `parse_packed`."""
    total_s = round(abs(angle) * 3600, _DIGITS)
    minutes, seconds = divmod(total_s, 60)
    packed = minutes // 60 * 10000 + minutes % 60 * 100 + round(seconds, _DIGITS)
    return math.copysign(packed, angle)


def read_pointing[T](
    ra: T, dec: T, parse: Callable[[T], float]
) -> tuple[float | None, float | None, str]:
    """Read right ascension (in hours) and declination as a header has them.

    Parameters
    ----------
    ra, dec
        What stands there.
    parse
        What makes an angle of it, or raises ValueError.

    Returns
    -------
    ra_deg, dec_deg
        Degrees; None where they are not known. Zeros for both are taken as not known: most
        writers put them there.
    flaw
        Why they are not used, or nothing.
    """
    try:
        hours, dec_deg = parse(ra), parse(dec)
        if not (0 <= hours < 24 and -90 <= dec_deg <= 90):
            raise ValueError(f"{hours:g} h, {dec_deg:g} degrees is no place on the sky")
    except ValueError as error:
        return None, None, f"the position {ra!r:.40}, {dec!r:.40} is not used: {error}"
    if hours == dec_deg == 0:
        return None, None, ""
    return hours * DEGREES_PER_HOUR, dec_deg, ""


def _joined(sign: float, first: float, minutes: float, seconds: float) -> float:
    if minutes >= 60 or seconds >= 60:
        raise ValueError(f"{minutes:g} minutes and {seconds:g} seconds are no part of an angle")
    return sign * (first + minutes / 60 + seconds / 3600)
