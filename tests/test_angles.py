"""Angles of headers and catalogues."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlppa.formats.angles import pack_angle, parse_packed, parse_sexagesimal, read_pointing


@pytest.mark.parametrize(
    ("text", "angle"),
    [
        ("05:34:31.97", 5 + 34 / 60 + 31.97 / 3600),
        ("+22:00:52.06", 22 + 52.06 / 3600),
        ("-00:12:30", -(12 / 60 + 30 / 3600)),
        ("05h34m31.97s", 5 + 34 / 60 + 31.97 / 3600),
        ("-05d34m31s", -(5 + 34 / 60 + 31 / 3600)),
        (" 05 34 31.97 ", 5 + 34 / 60 + 31.97 / 3600),
        ("18:32.5", 18 + 32.5 / 60),
        ("-45", -45),
        ("83.25", 83.25),
    ],
)
def test_an_angle_as_text(text: str, angle: float) -> None:
    assert parse_sexagesimal(text) == pytest.approx(angle, rel=1e-14)


@pytest.mark.parametrize(
    "text",
    ["", "*", "x", "1:60:00", "1:00:60", "1.5:30", "1:2.5:3", "1:2:3:4", "1:-2", "nan", "1e3"],
)
def test_what_is_no_angle_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"angle|fraction"):
        parse_sexagesimal(text)


@pytest.mark.parametrize(
    ("packed", "angle"),
    [
        (53431.97, 5 + 34 / 60 + 31.97 / 3600),
        (-1230.0, -(12 / 60 + 30 / 3600)),
        (-12.5, -12.5 / 3600),
        (-895959.0, -(89 + 59 / 60 + 59 / 3600)),
    ],
)
def test_an_angle_as_one_number(packed: float, angle: float) -> None:
    assert parse_packed(packed) == pytest.approx(angle, rel=1e-14)
    assert pack_angle(angle) == pytest.approx(packed, rel=1e-12)


@pytest.mark.parametrize("packed", [math.nan, math.inf, 126000.0, 120060.0, -1e300])
def test_a_number_that_is_no_angle_is_refused(packed: float) -> None:
    with pytest.raises(ValueError, match="angle"):
        parse_packed(packed)


@given(st.floats(-90, 90))
def test_what_is_packed_comes_back(angle: float) -> None:
    assert parse_packed(pack_angle(angle)) == pytest.approx(angle, abs=1e-10)


@pytest.mark.parametrize(
    ("raj", "dej", "found"),
    [
        (0.0, 0.0, (None, None, "")),
        (0.0, -1230.0, (0.0, -12.5 / 60, "")),
        (120000.0, -0.0, (180.0, 0.0, "")),
    ],
)
def test_zeros_for_both_stand_for_nothing(
    raj: float, dej: float, found: tuple[float | None, float | None, str]
) -> None:
    assert read_pointing(raj, dej, parse_packed) == found


@pytest.mark.parametrize(("raj", "dej"), [(240000.0, 0.0), (-1.0, 5.0), (1.0, 900001.0)])
def test_what_is_no_place_is_told(raj: float, dej: float) -> None:
    ra_deg, dec_deg, flaw = read_pointing(raj, dej, parse_packed)
    assert ra_deg is dec_deg is None
    assert "no place on the sky" in flaw
