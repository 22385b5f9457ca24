"""The SIGPROC header and the packing of its samples."""

import logging
import os
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlppa.data import FilterbankHeader
from mlppa.errors import FormatError, InputError
from mlppa.formats.bits import First, pack_bits, unpack_bits
from mlppa.formats.sigproc import MAX_HEADER_BYTES, pack_header, read_header

STREAM = FilterbankHeader(
    nchans=16,
    fch1_mhz=1500.0,
    foff_mhz=-0.5,
    tsamp_s=1e-3,
    tstart_mjd=60000.25,
    nbits=8,
    source_name="J0000+00",
    telescope="Parkes",
    beam=3,
)
END = b"\x0a\x00\x00\x00HEADER_END"
GOOD = pack_header(STREAM)


def string(text: str) -> bytes:
    return struct.pack("<i", len(text)) + text.encode()


def with_fields(*fields: bytes) -> bytes:
    """A good header with more fields before its end."""
    return GOOD.removesuffix(END) + b"".join(fields) + END


def without(keyword: str, nbytes: int) -> bytes:
    start = GOOD.index(string(keyword))
    return GOOD[:start] + GOOD[start + len(string(keyword)) + nbytes :]


def replaced(keyword: str, code: str, value: float) -> bytes:
    start = GOOD.index(string(keyword)) + len(string(keyword))
    return GOOD[:start] + struct.pack(code, value) + GOOD[start + struct.calcsize(code) :]


@pytest.fixture
def fil(tmp_path: Path) -> Path:
    return tmp_path / "a.fil"


@pytest.mark.parametrize("nifs", [1, 2, 4])
@pytest.mark.parametrize("nbits", [1, 2, 4, 8, 16, 32])
def test_what_is_packed_is_read(fil: Path, nbits: int, nifs: int) -> None:
    stream = FilterbankHeader(
        nchans=16, fch1_mhz=400.0, foff_mhz=0.25, tsamp_s=64e-6, tstart_mjd=60000.5, nbits=nbits
    )
    packed = pack_header(stream, nifs=nifs, signed=True, nsamples=3)
    fil.write_bytes(packed + bytes(3 * nifs * 16 * nbits // 8))
    header = read_header(fil)
    assert header.stream == FilterbankHeader(
        nchans=16,
        fch1_mhz=400.0,
        foff_mhz=0.25,
        tsamp_s=64e-6,
        tstart_mjd=60000.5,
        nbits=nbits,
        telescope="Fake",
    )
    assert (header.nifs, header.signed) == (nifs, nbits == 8)
    assert (header.header_bytes, header.nsamples, header.ignored_bytes) == (len(packed), 3, 0)
    assert header.notes == ()


def test_names_survive(fil: Path) -> None:
    fil.write_bytes(GOOD + bytes(16))
    assert read_header(fil).stream == STREAM


@pytest.mark.parametrize(
    ("ra_deg", "dec_deg"),
    [(83.6332, 22.01446), (0.0, -0.2083), (359.9999999999, 89.9999), (266.4168, -29.0078)],
)
def test_the_pointing_survives(fil: Path, ra_deg: float, dec_deg: float) -> None:
    fil.write_bytes(pack_header(replace(STREAM, ra_deg=ra_deg, dec_deg=dec_deg)) + bytes(16))
    header = read_header(fil)
    assert header.notes == ()
    assert header.stream.ra_deg is not None
    assert (header.stream.ra_deg - ra_deg + 180) % 360 - 180 == pytest.approx(0, abs=2e-9)
    assert header.stream.dec_deg == pytest.approx(dec_deg, abs=2e-9)


def test_the_pointing_is_hours_and_degrees(fil: Path) -> None:
    fields = ("src_raj", 53431.97), ("src_dej", -1230.0), ("refdm", 0.0)
    fil.write_bytes(with_fields(*(string(k) + struct.pack("<d", v) for k, v in fields)) + bytes(16))
    stream = read_header(fil).stream
    assert stream.ra_deg == pytest.approx(15 * (5 + 34 / 60 + 31.97 / 3600))
    assert stream.dec_deg == pytest.approx(-(12 / 60 + 30 / 3600))


def test_a_pointing_of_zeros_is_none(fil: Path) -> None:
    fields = ("src_raj", 0.0), ("src_dej", 0.0)
    fil.write_bytes(with_fields(*(string(k) + struct.pack("<d", v) for k, v in fields)) + bytes(16))
    assert read_header(fil).stream == STREAM
    assert read_header(fil).notes == ()


@pytest.mark.parametrize(
    ("raj", "dej"),
    [(250000.0, 100.0), (126100.0, 100.0), (-100.0, 100.0), (100.0, 910000.0), (np.nan, 0.0)],
)
def test_a_pointing_off_the_sky_is_left_out_with_a_warning(
    fil: Path, caplog: pytest.LogCaptureFixture, raj: float, dej: float
) -> None:
    fields = ("src_raj", raj), ("src_dej", dej)
    fil.write_bytes(with_fields(*(string(k) + struct.pack("<d", v) for k, v in fields)) + bytes(16))
    assert read_header(fil).stream == STREAM
    assert "is not used" in caplog.text


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x01",
        struct.pack("<i", 42),
        struct.pack("<i", 0),
        struct.pack("<d", 1420.4),
        struct.pack("<q", 7),
        string("Parkes"),
        string("a longer text, with spaces: 10:20:30"),
    ],
)
def test_an_unknown_keyword_is_skipped_with_one_warning(
    fil: Path, caplog: pytest.LogCaptureFixture, value: bytes
) -> None:
    fil.write_bytes(
        with_fields(string("my_key"), value, string("refdm"), struct.pack("<d", 5.0)) + bytes(32)
    )
    assert read_header(fil).nsamples == 2
    assert read_header(fil).stream == STREAM
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "my_key" in caplog.text


def test_two_unknown_keywords_in_a_row(fil: Path) -> None:
    fields = string("observer"), string("Jocelyn"), string("my_key"), struct.pack("<i", 9)
    fil.write_bytes(with_fields(*fields) + bytes(32))
    header = read_header(fil)
    assert header.nsamples == 2
    assert header.notes == ("unknown header keyword observer, my_key skipped",)


def test_many_unknown_keywords_are_one_short_warning(fil: Path) -> None:
    fields = [string(f"key{i}") + struct.pack("<i", i) for i in range(3000)]
    fil.write_bytes(with_fields(*fields) + bytes(32))
    (note,) = read_header(fil).notes
    assert note.endswith("key4 and 2995 more skipped")


def test_names_hold_no_control_characters(fil: Path) -> None:
    stream = replace(STREAM, source_name="a\nb\x1b[31m\0 ")
    fil.write_bytes(pack_header(stream) + bytes(16))
    assert read_header(fil).stream.source_name == "ab[31m"


@pytest.mark.parametrize("number", range(1, 60))
def test_an_unknown_number_does_not_swallow_what_follows(fil: Path, number: int) -> None:
    # Read as the length of a text, some of these end where a later keyword begins.
    known = string("refdm") + struct.pack("<d", 5.0) + string("period") + struct.pack("<d", 1.0)
    fields = string("my_key"), struct.pack("<i", number), known, string("signed"), b"\1"
    fil.write_bytes(with_fields(*fields) + bytes(32))
    assert read_header(fil).signed
    assert read_header(fil).notes == ("unknown header keyword my_key skipped",)


def test_an_unknown_keyword_that_can_be_read_in_two_ways_is_refused(fil: Path) -> None:
    # my_key = "observer" and a bare "Jocelyn", or a bare my_key and observer = "Jocelyn".
    fields = string("my_key"), string("observer"), string("Jocelyn")
    fil.write_bytes(with_fields(*fields) + bytes(32))
    with pytest.raises(FormatError, match="two ways"):
        read_header(fil)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "empty"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"SIMPLE  =                    T", "FITS"),
        (b"just text\n" * 30, "HEADER_START is missing"),
        (GOOD[:100], "breaks off at byte 100"),
        (GOOD.removesuffix(END), "breaks off"),
        (GOOD[:16] + struct.pack("<i", 2**31 - 1) + bytes(999), "keyword of 2147483647 bytes"),
        (with_fields(string("FREQUENCY_START")), "frequency table"),
        (with_fields(string("nbits"), struct.pack("<i", 4)), "nbits stands twice"),
        (without("nchans", 4), "nchans is missing"),
        (without("tsamp", 8), "tsamp is missing"),
        (replaced("nchans", "<i", 0), "nchans = 0"),
        (replaced("nchans", "<i", -64), "nchans = -64"),
        (replaced("nchans", "<i", 2**31 - 1), "nchans = 2147483647"),
        (replaced("nbits", "<i", 7), "nbits = 7"),
        (replaced("nifs", "<i", 3), "nifs = 3"),
        (replaced("nifs", "<i", -1), "nifs = -1"),
        (replaced("tsamp", "<d", float("nan")), "tsamp = nan is not finite"),
        (replaced("tstart", "<d", float("inf")), "tstart = inf is not finite"),
        (replaced("tstart", "<d", 1e300), r"tstart = 1e\+300 \(MJD\)"),
        (replaced("tstart", "<d", 1e15), r"tstart = 1e\+15 \(MJD\)"),
        (replaced("tstart", "<d", -1.0), r"tstart = -1 \(MJD\)"),
        (replaced("tsamp", "<d", 0.0), "tsamp = 0 s"),
        (replaced("foff", "<d", 0.0), "foff = 0 MHz"),
        (replaced("foff", "<d", 1e-300), "foff = 1e-300 MHz at 1500 MHz"),
        (replaced("foff", "<d", 1e300), "a band from 1500 to .* MHz"),
        (replaced("fch1", "<d", 5.0), "crosses 0 MHz"),
        (replaced("fch1", "<d", 1e300), r"a band from 1e\+300 to 1e\+300 MHz"),
        (replaced("data_type", "<i", 2), "time series"),
        (replaced("data_type", "<i", 6), "data_type 6"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_cause(
    fil: Path, content: bytes, cause: str
) -> None:
    fil.write_bytes(content + bytes(64 if content.startswith(GOOD[:30]) and END in content else 0))
    with pytest.raises(InputError, match=cause) as caught:
        read_header(fil)
    assert caught.value.thing == str(fil)
    assert caught.value.remedy
    assert "\n" not in str(caught.value)


def test_spectra_that_are_not_whole_bytes_are_refused() -> None:
    stream = FilterbankHeader(
        nchans=12, fch1_mhz=1500, foff_mhz=-1, tsamp_s=1e-3, tstart_mjd=6e4, nbits=1
    )
    with pytest.raises(FormatError, match="not whole bytes"):
        pack_header(stream)
    assert pack_header(stream, nifs=2)


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (GOOD + bytes(16 * 5 + 3), "5 whole spectra; the last 3 bytes are ignored"),
        (pack_header(STREAM, nsamples=9) + bytes(80), "nsamples says 9, the file holds 5 spectra"),
        (without("tstart", 8) + bytes(80), "tstart is missing"),
    ],
)
def test_what_is_odd_is_told_in_one_warning(
    fil: Path, caplog: pytest.LogCaptureFixture, content: bytes, note: str
) -> None:
    fil.write_bytes(content)
    assert read_header(fil).nsamples == 5
    assert [record.getMessage() for record in caplog.records] == [
        f"{fil}: {read_header(fil).notes[0]}"
    ]
    assert note in caplog.text


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, Path("/dev/zero")):
        with pytest.raises(InputError, match="not a regular file"):
            read_header(path)
    with pytest.raises(InputError, match="No such file"):
        read_header(tmp_path / "none.fil")


def test_a_header_without_end_is_not_read_on(fil: Path) -> None:
    fil.write_bytes(GOOD.removesuffix(END) + string("key") * 20_000 + END)
    with pytest.raises(FormatError, match=f"breaks off at byte {MAX_HEADER_BYTES}"):
        read_header(fil)


@settings(
    max_examples=400, deadline=1000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(GOOD) - 1), st.binary(max_size=9), st.integers(0, 9)),
        min_size=1,
        max_size=4,
    ),
    kept=st.integers(0, 2 * len(GOOD)),
)
def test_no_damage_gives_anything_but_a_sound_header_or_a_refusal(
    tmp_path: Path, edits: list[tuple[int, bytes, int]], kept: int
) -> None:
    content = GOOD
    for place, inserted, removed in edits:
        content = content[:place] + inserted + content[place + removed :]
    content = (content + bytes(100))[:kept]
    path = tmp_path / "fuzzed.fil"
    path.write_bytes(content)
    try:
        header = read_header(path)
    except InputError:
        return
    assert header.header_bytes + header.data_bytes == len(content)
    assert header.nsamples * header.bytes_per_spectrum <= header.data_bytes
    assert header.bytes_per_spectrum > 0


@pytest.mark.parametrize("first", ["low", "high"])
@pytest.mark.parametrize("nbits", [1, 2, 4])
def test_packed_bits_come_back(nbits: int, first: First) -> None:
    samples = np.random.default_rng(1).integers(0, 2**nbits, 4096, dtype=np.uint8)
    packed = pack_bits(samples, nbits, first=first)
    assert packed.nbytes == 4096 * nbits // 8
    np.testing.assert_array_equal(unpack_bits(packed, nbits, first=first), samples)


def test_the_order_of_bits() -> None:
    byte = np.array([0b1110_0001], np.uint8)
    assert unpack_bits(byte, 4).tolist() == [0b0001, 0b1110]
    assert unpack_bits(byte, 2, first="high").tolist() == [3, 2, 0, 1]
    np.testing.assert_array_equal(unpack_bits(byte, 1), np.unpackbits(byte, bitorder="little"))


def test_reading_a_header_imports_nothing_heavy(fil: Path) -> None:
    fil.write_bytes(GOOD + bytes(16))
    code = (
        "import sys\n"
        "from mlppa.formats.sigproc import read_header\n"
        "assert read_header(sys.argv[1]).nsamples == 1\n"
        "heavy = {'astropy', 'sigpyproc', 'your', 'numba', 'tensorflow'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code, str(fil)], check=True, timeout=60)
