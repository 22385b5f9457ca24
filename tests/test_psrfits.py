"""Search-mode PSRFITS, written by astropy and read by ours."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from numpy.typing import NDArray

from mlppa.data import Block
from mlppa.errors import FormatError, InputError
from mlppa.formats.bits import pack_bits
from mlppa.formats.fits import read_table
from mlppa.formats.psrfits import read_psrfits_header
from mlppa.sources.observation import FileSource
from mlppa.sources.psrfits import PsrfitsFile, open_psrfits

TBIN_S = 1e-3
NCHAN = 16


@dataclass
class Recording:
    """What `write` puts into a file; ``counts`` has shape (nsamples, npol, nchan)."""

    counts: NDArray[Any]
    nbits: int = 8
    nsblk: int = 8
    pol_type: str = "AA+BB"
    foff_mhz: float = -2.0
    freq_type: str = "E"
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)
    cards: dict[str, Any] = field(default_factory=dict)
    primary: dict[str, Any] = field(default_factory=dict)
    dim: str | None = None


def write(path: Path, recording: Recording) -> Path:
    """Write a recording; ``columns`` replaces or (None) leaves out table columns."""
    counts, nsblk = recording.counts, recording.nsblk
    nsamples, npol, nchan = counts.shape
    rows = nsamples // nsblk
    freqs = 1500.0 + recording.foff_mhz * np.arange(nchan)
    cells: dict[str, Any] = {
        "OFFS_SUB": (np.arange(rows) + 0.5) * nsblk * TBIN_S,
        "DAT_FREQ": np.tile(freqs, (rows, 1)),
        "DAT_WTS": np.ones((rows, nchan)),
        "DAT_OFFS": np.zeros((rows, npol * nchan)),
        "DAT_SCL": np.ones((rows, npol * nchan)),
    } | recording.columns
    formats = {"OFFS_SUB": "D", "DAT_FREQ": recording.freq_type}
    columns = []
    for name, values in cells.items():
        if values is not None:
            width = "" if values.ndim == 1 else str(values.shape[1])
            code = width + formats.get(name, "E")
            columns.append(fits.Column(name, code, array=values))
    columns.append(_data_column(recording, rows))
    table = fits.BinTableHDU.from_columns(columns, name="SUBINT")
    table.header.update(
        {
            "NPOL": npol,
            "POL_TYPE": recording.pol_type,
            "TBIN": TBIN_S,
            "NBITS": recording.nbits,
            "NCHAN": nchan,
            "NSBLK": nsblk,
            "NSUBOFFS": 0,
            **recording.cards,
        }
    )
    primary = fits.PrimaryHDU()
    primary.header.update(
        {
            "FITSTYPE": "PSRFITS",
            "OBS_MODE": "SEARCH",
            "TELESCOP": "Parkes",
            "SRC_NAME": "J0000+00",
            "STT_IMJD": 60000,
            "STT_SMJD": 21600,
            "STT_OFFS": 0.5,
            **recording.primary,
        }
    )
    fits.HDUList([primary, table]).writeto(path, overwrite=True)
    return path


def _data_column(recording: Recording, rows: int) -> fits.Column:
    counts, nsblk, nbits = recording.counts, recording.nsblk, recording.nbits
    _, npol, nchan = counts.shape
    if nbits < 8:
        packed = pack_bits(counts.astype(np.uint8).ravel(), nbits, first="high")
        dim = f"({nchan},{npol},{nsblk * nbits // 8})"
        data = packed.reshape(rows, nsblk * nbits // 8, npol, nchan)
        code = "B"
    else:
        types = {8: ("B", np.uint8), 16: ("I", np.int16), 32: ("E", np.float32)}
        code, number_type = types[nbits]
        dim = f"({nchan},{npol},{nsblk})"
        data = counts.astype(number_type).reshape(rows, nsblk, npol, nchan)
    width = nsblk * npol * nchan * min(8, nbits) // 8
    return fits.Column("DATA", f"{width}{code}", dim=recording.dim or dim, array=data)


def noise(nbits: int, npol: int = 1, rows: int = 3) -> NDArray[Any]:
    rng = np.random.default_rng(nbits)
    shape = (rows * 8, npol, NCHAN)
    if nbits >= 16:
        return rng.normal(0, 100, shape).astype(np.float32 if nbits == 32 else np.int16)
    return rng.integers(1 if nbits > 1 else 0, 2**nbits, shape, dtype=np.uint8)


def read(*paths: Path) -> tuple[FileSource, list[Block], NDArray[Any]]:
    source = open_psrfits([str(path) for path in paths])
    blocks = list(source.blocks())
    return source, blocks, np.concatenate([block.spectra for block in blocks])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.sf"


@pytest.mark.parametrize("nbits", [1, 2, 4, 8, 16, 32])
@pytest.mark.parametrize(
    ("pol_type", "npol", "used"),
    [
        ("AA+BB", 1, [0]),
        ("AABB", 2, [0, 1]),
        ("AABBCRCI", 4, [0, 1]),
        ("IQUV", 4, [0]),
        ("STOKES", 4, [0]),
    ],
)
def test_samples_and_polarisations(
    path: Path, nbits: int, pol_type: str, npol: int, used: list[int]
) -> None:
    counts = noise(nbits, npol)
    source, blocks, spectra = read(write(path, Recording(counts, nbits, pol_type=pol_type)))
    np.testing.assert_array_equal(spectra, counts[:, used].sum(axis=1, dtype=np.float32))
    assert spectra.dtype == np.float32
    assert [block.start for block in blocks] == [0, 8, 16]
    assert source.nsamples == 24
    assert all(block.valid is None for block in blocks)


@pytest.mark.parametrize("foff_mhz", [-2.0, 2.0])
@pytest.mark.parametrize("freq_type", ["E", "D"])
def test_the_header(path: Path, foff_mhz: float, freq_type: str) -> None:
    recording = Recording(noise(8), foff_mhz=foff_mhz, freq_type=freq_type)
    header = read_psrfits_header(write(path, recording)).stream
    assert (header.fch1_mhz, header.foff_mhz, header.nchans) == (1500.0, foff_mhz, NCHAN)
    assert header.tsamp_s == TBIN_S
    assert header.tstart_mjd == pytest.approx(60000 + 21600.5 / 86400, abs=1e-11)
    assert (header.telescope, header.source_name, header.nbits) == ("Parkes", "J0000+00", 8)


def test_weights_scales_and_offsets(path: Path) -> None:
    counts = noise(4, npol=4)
    rng = np.random.default_rng(0)
    scale, offset = rng.uniform(1, 9, (2, 3, 4 * NCHAN)).astype(np.float32)
    weights = np.ones((3, NCHAN), np.float32)
    weights[1, 5] = 0
    weights[2] = 0
    weights[0, 7] = 0.25
    _, blocks, spectra = read(
        write(
            path,
            Recording(
                counts,
                nbits=4,
                pol_type="AABBCRCI",
                columns={"DAT_SCL": scale, "DAT_OFFS": offset, "DAT_WTS": weights},
                cards={"ZERO_OFF": 7.5},
            ),
        )
    )
    rows = counts.reshape(3, 8, 4, NCHAN)
    s, o = (values.reshape(3, 1, 4, NCHAN) for values in (scale, offset))
    expected = ((rows - 7.5) * s + o)[:, :, :2].sum(axis=2)
    expected[np.broadcast_to(weights[:, None] == 0, expected.shape)] = np.nan
    np.testing.assert_allclose(spectra, expected.reshape(24, NCHAN), rtol=1e-5, atol=1e-3)
    assert blocks[0].valid is None
    assert blocks[1].valid is None
    assert blocks[2].valid is not None
    assert not blocks[2].valid.any()


def test_signed_samples(path: Path) -> None:
    _, _, spectra = read(write(path, Recording(noise(8), cards={"SIGNINT": 1})))
    np.testing.assert_array_equal(spectra, noise(8)[:, 0].view(np.int8).astype(np.float32))


def test_cards_that_say_nothing_count_as_not_given(path: Path) -> None:
    cards = {"ZERO_OFF": "*", "SIGNINT": "*", "NSTOT": "*", "NSUBOFFS": "*"}
    _, _, spectra = read(write(path, Recording(noise(8), cards=cards)))
    np.testing.assert_array_equal(spectra, noise(8)[:, 0])


@pytest.mark.parametrize(
    ("ra", "dec", "ra_deg", "dec_deg"),
    [
        ("05:34:31.973", "+22:00:52.06", 83.633221, 22.014461),
        ("00:00:00", "-00:12:30.0", 0.0, -0.208333),
        ("00:00:00", "00:00:00", None, None),
        ("*", "*", None, None),
        ("", "", None, None),
    ],
)
def test_where_it_points(
    path: Path,
    caplog: pytest.LogCaptureFixture,
    ra: str,
    dec: str,
    ra_deg: float | None,
    dec_deg: float | None,
) -> None:
    write(path, Recording(noise(8), primary={"RA": ra, "DEC": dec}))
    stream = read_psrfits_header(path).stream
    assert (stream.ra_deg, stream.dec_deg) == pytest.approx((ra_deg, dec_deg), abs=1e-6)
    assert not caplog.records


@pytest.mark.parametrize(
    ("ra", "dec"),
    [("25:00:00", "10:00:00"), ("05:60:00", "10:00:00"), ("05:00:00", "-90:00:01"),
     ("05:00:00", "*"), (83.6, 22.0), ("83.6", "22.0")],
)  # fmt: skip
def test_a_pointing_that_makes_no_sense_is_left_out_with_a_warning(
    path: Path, caplog: pytest.LogCaptureFixture, ra: object, dec: object
) -> None:
    write(path, Recording(noise(8), primary={"RA": ra, "DEC": dec}))
    stream = read_psrfits_header(path).stream
    assert stream.ra_deg is stream.dec_deg is None
    assert "is not used" in caplog.text


def test_padding_is_told_by_nstot_or_by_zeros(path: Path) -> None:
    counts = noise(8)
    counts[19:] = 0
    source, blocks, spectra = read(write(path, Recording(counts)))
    assert source.nsamples == 24
    assert blocks[1].valid is None
    assert blocks[2].valid is not None
    assert blocks[2].valid.tolist() == [True] * 3 + [False] * 5
    source, blocks, spectra = read(write(path, Recording(counts, cards={"NSTOT": 19})))
    assert source.nsamples == len(spectra) == 19
    assert blocks[2].valid is None
    source, _, spectra = read(write(path, Recording(counts, cards={"NSTOT": 5})))
    assert source.nsamples == len(spectra) == 5


def test_a_missing_row_is_a_gap(path: Path) -> None:
    offs_s = np.array([0.5, 1.5, 4.5]) * 8 * TBIN_S
    source, blocks, _ = read(write(path, Recording(noise(8), columns={"OFFS_SUB": offs_s})))
    assert [block.start for block in blocks] == [0, 8, 32]
    assert source.nsamples == 40


def test_a_row_that_was_never_written_is_a_gap(path: Path) -> None:
    counts = noise(8)
    counts[8:16] = 0
    freqs = np.tile(1500.0 - 2.0 * np.arange(NCHAN), (3, 1))
    freqs[1] = 0
    offs_s = np.array([0.5, 0, 2.5]) * 8 * TBIN_S
    columns = {"OFFS_SUB": offs_s, "DAT_FREQ": freqs}
    _, blocks, spectra = read(write(path, Recording(counts, columns=columns)))
    assert [block.start for block in blocks] == [0, 16]
    np.testing.assert_array_equal(spectra, np.concatenate([counts[:8, 0], counts[16:, 0]]))


@pytest.mark.parametrize("offs_s", [np.zeros(3), np.array([3.0, 2.0, 1.0]), np.full(3, np.nan)])
def test_times_that_do_not_rise_are_ignored_with_one_warning(
    path: Path, caplog: pytest.LogCaptureFixture, offs_s: NDArray[Any]
) -> None:
    _, blocks, _ = read(write(path, Recording(noise(8), columns={"OFFS_SUB": offs_s})))
    assert [block.start for block in blocks] == [0, 8, 16]
    assert len(caplog.records) == 1
    assert "OFFS_SUB does not rise" in caplog.text


def test_a_file_that_begins_late_says_so_in_its_start(path: Path) -> None:
    offs_s = (np.arange(3) + 100.5) * 8 * TBIN_S
    header = read_psrfits_header(write(path, Recording(noise(8), columns={"OFFS_SUB": offs_s})))
    assert header.stream.tstart_mjd == pytest.approx(60000 + 21601.3 / 86400, abs=1e-11)


def test_split_files_are_one_observation(tmp_path: Path) -> None:
    paths = []
    for i in (2, 0):
        offs_s = (np.arange(3) + 0.5 + 3 * i) * 8 * TBIN_S
        recording = Recording(noise(8), columns={"OFFS_SUB": offs_s}, cards={"NSUBOFFS": 3 * i})
        paths.append(write(tmp_path / f"{i}.sf", recording))
    source, blocks, _ = read(*paths)
    assert [block.start for block in blocks] == [0, 8, 16, 48, 56, 64]
    assert source.nsamples == 72


def test_columns_that_go_without_saying_may_be_left_out(path: Path) -> None:
    columns: dict[str, Any] = dict.fromkeys(("DAT_WTS", "DAT_OFFS", "DAT_SCL", "OFFS_SUB"))
    _, _, spectra = read(write(path, Recording(noise(8, 2), pol_type="AABB", columns=columns)))
    np.testing.assert_array_equal(spectra, noise(8, 2).sum(axis=1, dtype=np.float32))


def test_a_truncated_file_gives_its_whole_rows(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(path, Recording(noise(8)))
    table = read_table(path, "SUBINT")
    path.write_bytes(path.read_bytes()[: table.offset + 2 * table.row_bytes + 7])
    source, _, spectra = read(path)
    np.testing.assert_array_equal(spectra, noise(8)[:16, 0])
    assert source.nsamples == 16
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: 2 of 3 rows are whole; the last 7 bytes are ignored"
    ]


@pytest.mark.parametrize("keep_rows", [0, 1])
def test_a_file_that_shrinks_while_it_is_read_ends_early(
    path: Path, caplog: pytest.LogCaptureFixture, keep_rows: int
) -> None:
    # Rows of 96 kB, so that not all of them are in the buffer of the file.
    counts = np.random.default_rng(0).integers(1, 256, (3 * 6000, 1, NCHAN), dtype=np.uint8)
    write(path, Recording(counts, nsblk=6000))
    table = read_table(path, "SUBINT")
    blocks = open_psrfits([str(path)]).blocks()
    np.testing.assert_array_equal(next(blocks).spectra, counts[:6000, 0])
    size = table.offset + (1 + keep_rows) * table.row_bytes + 50_000
    with path.open("r+b") as file:
        file.truncate(size)
    rest = list(blocks)
    assert [block.start for block in rest] == [6000, 12000][: 1 + keep_rows]
    assert 0 < len(rest[-1].spectra) < 6000
    np.testing.assert_array_equal(rest[0].spectra, counts[6000:, 0][: len(rest[0].spectra)])
    assert len(caplog.records) == 1
    assert "shrank while it was read" in caplog.text


UNEVEN = np.tile(1500.0 - 2.0 * np.arange(NCHAN), (3, 1))
UNEVEN[:, 7] += 1


@pytest.mark.parametrize(
    ("recording", "cause"),
    [
        (Recording(noise(8), primary={"OBS_MODE": "PSR"}), "folded at a pulsar's period"),
        (Recording(noise(8), primary={"OBS_MODE": "CAL"}), "folded"),
        (Recording(noise(8), primary={"FITSTYPE": "IMAGE"}), "not PSRFITS"),
        (Recording(noise(8, rows=0)), "counts no rows"),
        (Recording(noise(8), columns={"DAT_FREQ": UNEVEN}), "not evenly spaced"),
        (
            Recording(noise(8), columns={"DAT_FREQ": np.zeros((3, NCHAN))}),
            "no row was written",
        ),
        (
            Recording(noise(8, 4), pol_type="IQUV", columns={"DAT_SCL": np.ones((3, NCHAN))}),
            "DAT_SCL holds 16 values; 4 polarisations of 16 channels need 64",
        ),
        (Recording(noise(8), columns={"DAT_WTS": np.ones((3, 4))}), "DAT_WTS holds 4 values"),
        (Recording(noise(8, 4), pol_type="WHAT"), "POL_TYPE 'WHAT'"),
        (Recording(noise(8), cards={"NBITS": 7}), "NBITS = 7"),
        (Recording(noise(8), cards={"NPOL": 3}), "NPOL = 3"),
        (Recording(noise(8), cards={"NCHAN": 2**31}), "needs? 2147483648"),
        (Recording(noise(8), cards={"NSBLK": 2**40}), "DATA holds 128 bytes"),
        (Recording(noise(8), cards={"NSBLK": -8}), "NSBLK = -8"),
        (Recording(noise(8), cards={"TBIN": 0.0}), "tsamp = 0 s"),
        (Recording(noise(8), cards={"TBIN": "soon"}), "TBIN = 'soon' is not a number"),
        (Recording(noise(8), dim="(8,1,16)"), r"DATA has dimensions \(8,1,16\)"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_cause(
    path: Path, recording: Recording, cause: str
) -> None:
    write(path, recording)
    with pytest.raises(InputError, match=cause) as caught:
        read_psrfits_header(path)
    assert caught.value.thing == str(path)


def test_channels_that_move_are_refused(path: Path) -> None:
    freqs = np.tile(1500.0 - 2.0 * np.arange(NCHAN), (3, 1))
    freqs[2] += 10
    source = open_psrfits([str(write(path, Recording(noise(8), columns={"DAT_FREQ": freqs})))])
    blocks = source.blocks()
    next(blocks)
    next(blocks)
    with pytest.raises(InputError, match="frequencies change at row 2"):
        next(blocks)


def test_damage_gives_a_refusal_or_a_sound_header(path: Path) -> None:
    good = write(path, Recording(noise(8))).read_bytes()
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(300):
        damaged = bytearray(good)
        for place in rng.integers(0, 3 * 2880 + 600, 20):
            damaged[place % len(good)] = rng.integers(32, 127)
        path.write_bytes(damaged[: rng.integers(1, 2 * len(good))])
        try:
            header = read_psrfits_header(path)
        except InputError:
            refused += 1
            continue
        assert header.table.offset + header.table.rows * header.table.row_bytes <= len(damaged)
        assert header.nsamples >= 0
        assert header.bytes_per_spectrum * header.nsblk <= len(damaged)
    assert 0 < refused < 300


@pytest.mark.parametrize(
    "name", ["FRB20180417A_askap_beam28.fits", "crab_parkes_uwl_4bit.sf", "test_4pol.fits"]
)
def test_cards_are_those_that_astropy_reads(shared_data: Path, name: str) -> None:
    path = shared_data / "real" / name
    table = read_table(path, "SUBINT")
    with fits.open(path, memmap=False) as hdus:
        for ours, theirs in ((table.primary, hdus[0].header), (table.cards, hdus["SUBINT"].header)):
            named = {key: value for key, value in theirs.items() if key and key in ours}
            assert {key: ours[key] for key in named} == named
            assert len(named) > 20
        assert table.offset == hdus["SUBINT"].fileinfo()["datLoc"]


@pytest.mark.parametrize("block_samples", [None, 100])
def test_the_real_frb_is_the_same_in_both_formats(
    shared_data: Path, block_samples: int | None
) -> None:
    path = shared_data / "real" / "FRB20180417A_askap_beam28.fits"
    file = PsrfitsFile(path, read_psrfits_header(path), block_samples)
    blocks = list(FileSource([file]).blocks())
    fil = path.with_suffix(".fil").read_bytes()[327:]
    recorded = np.frombuffer(fil, np.uint8).reshape(-1, 336)
    spectra = np.concatenate([block.spectra for block in blocks])
    np.testing.assert_array_equal(spectra[: len(recorded)], recorded)
    valid = [np.ones(len(b.spectra), bool) if b.valid is None else b.valid for b in blocks]
    assert np.flatnonzero(~np.concatenate(valid)).tolist() == list(range(5120, 5523))


@pytest.mark.parametrize("name", ["crab_parkes_uwl_4bit.sf", "small.fits"])
def test_real_samples_are_those_that_sigpyproc_reads(shared_data: Path, name: str) -> None:
    from sigpyproc.io.pfits import PFITSFile

    path = shared_data / "real" / name
    source, _, spectra = read(path)
    with PFITSFile(str(path)) as theirs:
        np.testing.assert_allclose(
            spectra, theirs.read_subints(0, theirs.sub_hdr.nsubint), rtol=1e-6, atol=0.5
        )
    assert source.nsamples == len(spectra)


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("real/empty.fits", "counts no rows, though 2082752 bytes follow"),
        ("real/test_4pol.fits", "holds 512 values; 4 polarisations of 512 channels need 2048"),
        ("bad/psrfits_obsmode_psr.fits", "folded at a pulsar's period"),
    ],
)
def test_oddities_from_the_wild_are_refused(shared_data: Path, name: str, cause: str) -> None:
    with pytest.raises(InputError, match=cause):
        open_psrfits([str(shared_data / name)])


def test_a_header_that_never_ends_is_refused(path: Path) -> None:
    path.write_bytes(b"SIMPLE  =                    T".ljust(80) + b" " * 3_000_000)
    with pytest.raises(FormatError, match="breaks off before END"):
        read_psrfits_header(path)
