"""The contract of every source, and files that continue each other."""

import json
import logging
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mlppa.data import Block, FilterbankHeader
from mlppa.errors import ConfigError, InputError
from mlppa.formats.bits import pack_bits
from mlppa.formats.psrfits import read_psrfits_header
from mlppa.formats.sigproc import pack_header, read_header
from mlppa.sources import Source, open_source, split_options
from mlppa.sources.memory import MemorySource
from mlppa.sources.observation import FileSource
from mlppa.sources.psrfits import PsrfitsFile
from mlppa.sources.sigproc import SigprocFile

from .test_psrfits import Recording, write

NCHANS = 16
STREAM = FilterbankHeader(
    nchans=NCHANS, fch1_mhz=1500.0, foff_mhz=-2.0, tsamp_s=1e-3, tstart_mjd=60000.25, nbits=8
)
SPECTRA = np.random.default_rng(0).integers(1, 256, (48, NCHANS), dtype=np.uint8)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)


def write_fil(
    path: Path,
    samples: NDArray[Any],
    stream: FilterbankHeader = STREAM,
    *,
    signed: bool = False,
) -> Path:
    """Write samples of shape (nsamples, nchans) or (nsamples, nifs, nchans)."""
    nifs = 1 if samples.ndim == 2 else samples.shape[1]
    if stream.nbits < 8:
        samples = pack_bits(samples.astype(np.uint8).ravel(), stream.nbits)
    path.write_bytes(pack_header(stream, nifs=nifs, signed=signed) + samples.tobytes())
    return path


def later(stream: FilterbankHeader, samples: float) -> FilterbankHeader:
    return replace(stream, tstart_mjd=stream.tstart_mjd + samples * stream.tsamp_s / 86400)


def joined(source: Source) -> NDArray[Any]:
    return np.concatenate([block.spectra for block in source.blocks()])


def from_memory(_: Path) -> Source:
    return MemorySource(STREAM, SPECTRA, [10, 1, 20])


def from_sigproc(folder: Path) -> Source:
    path = write_fil(folder / "a.fil", SPECTRA)
    return FileSource([SigprocFile(path, read_header(path), block_samples=10)])


def from_psrfits(folder: Path) -> Source:
    path = write(folder / "a.sf", Recording(SPECTRA[:, None]))
    return FileSource([PsrfitsFile(path, read_psrfits_header(path), block_samples=5)])


def from_three_files(folder: Path) -> Source:
    parts = [(0, 20), (20, 21), (21, 48)]
    for i, (start, stop) in enumerate(parts):
        write_fil(folder / f"{i}.fil", SPECTRA[start:stop], later(STREAM, start))
    return open_source([str(folder / f"{i}.fil") for i in (2, 0, 1)])


@pytest.mark.parametrize("make", [from_memory, from_sigproc, from_psrfits, from_three_files])
class TestContract:
    def test_blocks_come_in_order_and_are_the_data(
        self, tmp_path: Path, make: Callable[[Path], Source]
    ) -> None:
        source = make(tmp_path)
        blocks = list(source.blocks())
        assert len(blocks) > 2
        assert [block.start for block in blocks[1:]] == [block.stop for block in blocks[:-1]]
        assert (blocks[0].start, blocks[-1].stop) == (0, source.nsamples)
        np.testing.assert_array_equal(np.concatenate([b.spectra for b in blocks]), SPECTRA)
        assert not source.live

    def test_the_header_is_that_of_the_data(
        self, tmp_path: Path, make: Callable[[Path], Source]
    ) -> None:
        header = make(tmp_path).header
        assert (header.nchans, header.fch1_mhz, header.foff_mhz) == (NCHANS, 1500.0, -2.0)
        assert (header.tsamp_s, header.nbits) == (1e-3, 8)

    def test_close_ends_it(self, tmp_path: Path, make: Callable[[Path], Source]) -> None:
        source = make(tmp_path)
        blocks = source.blocks()
        kept = next(blocks)
        source.close()
        assert len(list(blocks)) <= 1
        np.testing.assert_array_equal(kept.spectra, SPECTRA[: kept.stop])
        source.close()

    def test_whoever_receives_a_block_owns_it(
        self, tmp_path: Path, make: Callable[[Path], Source]
    ) -> None:
        source = make(tmp_path)
        blocks: Iterator[Block] = source.blocks()
        next(blocks).spectra[:] = 0
        for block in blocks:
            np.testing.assert_array_equal(block.spectra, SPECTRA[block.start : block.stop])
            block.spectra[:] = 0
        np.testing.assert_array_equal(joined(source), SPECTRA)


def random_samples(nbits: int, nifs: int, *, signed: bool = False) -> NDArray[Any]:
    rng = np.random.default_rng(nbits + nifs)
    shape = (200, nifs, NCHANS)
    if nbits == 32:
        return rng.normal(size=shape).astype(np.float32)
    number_type = np.int8 if signed else np.uint16 if nbits == 16 else np.uint8
    low, high = (-128, 128) if signed else (0, 2**nbits)
    return rng.integers(low, high, shape, dtype=number_type)


@pytest.mark.parametrize("foff_mhz", [-2.0, 2.0])
@pytest.mark.parametrize("nifs", [1, 2, 4])
@pytest.mark.parametrize(
    ("nbits", "signed", "summed"),
    [
        (1, False, np.uint16),
        (2, False, np.uint16),
        (4, False, np.uint16),
        (8, False, np.uint16),
        (8, True, np.int16),
        (16, False, np.uint32),
        (32, False, np.float32),
    ],
)
def test_every_sigproc_layout(
    tmp_path: Path, nbits: int, signed: bool, summed: type, nifs: int, foff_mhz: float
) -> None:
    samples = random_samples(nbits, nifs, signed=signed)
    stream = replace(STREAM, nbits=nbits, foff_mhz=foff_mhz)
    path = write_fil(tmp_path / "a.fil", samples, stream, signed=signed)
    source = open_source([str(path)])
    spectra = joined(source)
    assert source.header == replace(stream, telescope="Fake")
    if nifs == 1:
        assert spectra.dtype == samples.dtype
        np.testing.assert_array_equal(spectra, samples[:, 0])
    else:
        assert spectra.dtype == summed
        np.testing.assert_array_equal(spectra, samples[:, :2].sum(axis=1, dtype=summed))


@pytest.mark.parametrize("nbits", [1, 2, 4, 8, 16, 32])
@pytest.mark.parametrize("foff_mhz", [-2.0, 2.0])
def test_sigpyproc_reads_the_same(tmp_path: Path, nbits: int, foff_mhz: float) -> None:
    from sigpyproc.readers import FilReader

    stream = replace(STREAM, nbits=nbits, foff_mhz=foff_mhz)
    path = write_fil(tmp_path / "a.fil", random_samples(nbits, 1), stream)
    with FilReader(str(path)) as reader:
        theirs = np.asarray(reader.read_block(0, 200).data)
        assert (reader.header.fch1, reader.header.foff) == (1500.0, foff_mhz)
    np.testing.assert_array_equal(joined(open_source([str(path)])), theirs.T)


@pytest.mark.parametrize(
    "name",
    [
        "crab_parkes_uwl_1bit.fil",
        "crab_parkes_uwl_2bit.fil",
        "crab_parkes_uwl_8bit.fil",
        "simulated_pulsar_dm30_2bit.fil",
        "small.fil",
    ],
)
def test_sigpyproc_reads_the_same_from_the_sky(shared_data: Path, name: str) -> None:
    from sigpyproc.readers import FilReader

    path = str(shared_data / "real" / name)
    with FilReader(path) as reader:
        theirs = np.asarray(reader.read_block(0, reader.header.nsamples).data)
    np.testing.assert_array_equal(joined(open_source([path])), theirs.T)


def test_four_ifs_may_be_stokes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    samples = random_samples(8, 4)
    path = write_fil(tmp_path / "a.fil", samples)
    np.testing.assert_array_equal(joined(open_source([f"{path}?stokes=1"])), samples[:, 0])
    assert not caplog.records
    joined(open_source([str(path)]))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "?stokes=1" in caplog.text


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("offset", [20, 20.4, 19.6, 27, 1000, 19, 18])
def test_dates_place_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, order: tuple[int, int], offset: float
) -> None:
    paths = [
        write_fil(tmp_path / "z.fil", SPECTRA[:20]),
        write_fil(tmp_path / "a.fil", SPECTRA[20:], later(STREAM, offset)),
    ]
    source = open_source([str(paths[i]) for i in order])
    blocks = list(source.blocks())
    start = round(offset)
    repeated = max(0, 20 - start)
    assert [block.start for block in blocks] == [0, max(20, start)]
    assert source.nsamples == blocks[-1].stop == start + 28
    np.testing.assert_array_equal(blocks[1].spectra, SPECTRA[20 + repeated :])
    assert len(caplog.records) == (repeated > 0)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"nbits": 16}, "nbits is 16, but 8"),
        ({"fch1_mhz": 1501.0}, "fch1_mhz is 1501, but 1500"),
        ({"foff_mhz": 2.0}, "foff_mhz is 2, but -2"),
        ({"tsamp_s": 2e-3}, "tsamp_s is 0.002, but 0.001"),
        ({"nchans": 8}, "nchans is 8, but 16"),
        ({"tstart_mjd": 60000.25}, "overlaps .* by 20 samples"),
        ({"tstart_mjd": 60000.25 + 17e-3 / 86400}, "overlaps .* by 3 samples"),
        ({"tstart_mjd": 60002.0}, "begins 151200 s after the end"),
    ],
)
def test_files_that_do_not_continue_each_other_are_refused(
    tmp_path: Path, order: tuple[int, int], change: dict[str, Any], cause: str
) -> None:
    stream = replace(later(STREAM, 20), **change)
    paths = [
        write_fil(tmp_path / "a.fil", SPECTRA[:20]),
        write_fil(tmp_path / "b.fil", SPECTRA, stream),
    ]
    if change == {"tstart_mjd": STREAM.tstart_mjd}:
        # Of two files that begin together the one named first counts as the first.
        order = (0, 1)
    with pytest.raises(InputError, match=cause) as caught:
        open_source([str(paths[i]) for i in order])
    assert caught.value.thing == str(paths[1])


def test_files_with_other_polarisations_are_refused(tmp_path: Path) -> None:
    first = write_fil(tmp_path / "a.fil", SPECTRA)
    second = write_fil(tmp_path / "b.fil", random_samples(8, 2), later(STREAM, 48))
    with pytest.raises(InputError, match=r"data of 2 IF, but .*data of 1 IF"):
        open_source([str(first), str(second)])


def test_a_file_without_spectra_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    full = write_fil(tmp_path / "a.fil", SPECTRA)
    empty = write_fil(tmp_path / "b.fil", SPECTRA[:0])
    assert open_source([str(empty), str(full)]).nsamples == 48
    assert f"{empty}: holds no whole spectrum and is left out" in caplog.text
    with pytest.raises(InputError, match="holds no whole spectrum"):
        open_source([str(empty)])


@pytest.mark.parametrize("keep", [0, 1, 3 * NCHANS + 5, 1_000_000])
def test_a_file_that_shrinks_while_it_is_read_ends_early(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, keep: int
) -> None:
    samples = np.random.default_rng(1).integers(0, 256, (400_000, NCHANS), dtype=np.uint8)
    path = write_fil(tmp_path / "a.fil", samples)
    header = read_header(path)
    source = open_source([str(path)])
    blocks = source.blocks()
    first = next(blocks)
    with path.open("r+b") as file:
        file.truncate(header.header_bytes + first.spectra.nbytes + keep)
    rest = [block.spectra for block in blocks]
    got = np.concatenate([first.spectra, *rest])
    assert len(got) == len(first.spectra) + keep // NCHANS
    np.testing.assert_array_equal(got, samples[: len(got)])
    assert len(caplog.records) == 1
    assert f"{keep % NCHANS} bytes are ignored" in caplog.text


def test_after_a_file_that_shrank_comes_the_next(tmp_path: Path) -> None:
    paths = [
        write_fil(tmp_path / "a.fil", SPECTRA[:20]),
        write_fil(tmp_path / "b.fil", SPECTRA[20:], later(STREAM, 20)),
    ]
    source = open_source([str(path) for path in paths])
    with paths[0].open("r+b") as file:
        file.truncate(read_header(paths[0]).header_bytes + 8 * NCHANS)
    assert [(block.start, block.stop) for block in source.blocks()] == [(0, 8), (20, 48)]


def test_a_file_that_vanishes_is_an_input_error(tmp_path: Path) -> None:
    path = write_fil(tmp_path / "a.fil", SPECTRA)
    source = open_source([str(path)])
    path.unlink()
    with pytest.raises(InputError, match="cannot be read any more"):
        next(source.blocks())


def test_a_memory_source_leaves_gaps_and_poses_as_live() -> None:
    source = MemorySource(STREAM, SPECTRA, [10, -5, 3], live=True)
    blocks = list(source.blocks())
    assert [(block.start, block.stop) for block in blocks] == [(0, 10), (15, 18), (18, 48)]
    np.testing.assert_array_equal(blocks[1].spectra, SPECTRA[15:18])
    assert source.live
    assert source.nsamples is None
    with pytest.raises(InputError, match="shorter than its cuts"):
        MemorySource(STREAM, SPECTRA, [40, -9])
    with pytest.raises(InputError, match="shape"):
        MemorySource(STREAM, SPECTRA[:, :4])


def test_ours_are_registered_like_any_other() -> None:
    assert {"psrfits", "sigproc"} <= {point.name for point in entry_points(group="mlppa.sources")}


@pytest.mark.parametrize("name", ["a.fil", "no extension", "a.fits", "what?stokes=1"])
def test_the_content_tells_the_format(tmp_path: Path, name: str) -> None:
    np.testing.assert_array_equal(
        joined(open_source([str(write_fil(tmp_path / name, SPECTRA))])), SPECTRA
    )


@pytest.mark.parametrize(
    ("uris", "cause"),
    [
        ([], "not given"),
        (["nonsense://host:1"], "no source for 'nonsense'; use one of those installed: .*sigproc"),
        (["a.fil", "nonsense:b"], "mixes inputs of the kinds nonsense and sigproc"),
    ],
)
def test_uris_that_fit_nothing_are_refused(uris: list[str], cause: str) -> None:
    with pytest.raises(ConfigError, match=cause):
        open_source(uris)


def test_unknown_options_are_refused(tmp_path: Path) -> None:
    path = write_fil(tmp_path / "a.fil", SPECTRA)
    with pytest.raises(ConfigError, match="unknown option speed"):
        open_source([f"{path}?speed=1"])
    assert split_options("x.fil?a=1&b") == ("x.fil", {"a": "1", "b": ""})


#: File, samples that come out (0: refused), and a word of the message or warning.
BAD = [
    ("all_constant.fil", 2000, ""),
    ("all_saturated.fil", 2000, ""),
    ("fch1_negative_low.fil", 0, "crosses 0 MHz"),
    ("foff0.fil", 0, "foff = 0 MHz"),
    ("gzipped.fil", 0, "gunzip it first"),
    ("header_only.fil", 0, "holds no whole spectrum"),
    ("header_truncated.fil", 0, "breaks off at byte 200"),
    ("missing_nchans.fil", 0, "nchans is missing"),
    ("nan_inf_32bit.fil", 2000, ""),
    ("nbits7.fil", 0, "nbits = 7"),
    ("nchans0.fil", 0, "nchans = 0"),
    ("nchans_huge.fil", 0, "nchans = 2147483647"),
    ("not_a_filterbank.fil", 0, "is not a SIGPROC filterbank"),
    ("nsamples_lies.fil", 400, "nsamples says 1000000, the file holds 400 spectra"),
    ("psrfits_obsmode_psr.fits", 0, "folded at a pulsar's period"),
    ("string_length_huge.fil", 0, "a keyword of 2147483647 bytes"),
    ("timeseries_datatype2.fil", 0, "time series"),
    ("truncated_mid_spectrum.fil", 350, "the last 117 bytes are ignored"),
    ("tsamp_nan.fil", 0, "tsamp = nan is not finite"),
    ("unknown_keyword.fil", 400, "my_private_key skipped"),
    ("zero_length.fil", 0, "is empty"),
]

#: Within 1 GiB of address space, so that whatever takes more ends it.
READ_ALL = """
import json, logging, resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
def refuse(*args, **kwargs):
    raise AssertionError("a socket was opened")
socket.socket = refuse
from mlppa.errors import InputError
from mlppa.sources import open_source
for path in sys.argv[1:]:
    warned = []
    handler = logging.Handler()
    handler.emit = lambda record: warned.append(record.getMessage())
    logging.getLogger("mlppa").handlers = [handler]
    began = time.monotonic()
    try:
        source = open_source([path])
        samples = sum(len(block.spectra) for block in source.blocks())
        assert samples == source.nsamples
        said = warned
    except InputError as error:
        assert error.exit_code == 3
        samples, said = 0, [str(error), *warned]
    print(json.dumps([samples, said, time.monotonic() - began]))
"""


def test_bad_files_are_refused_or_read_right(shared_data: Path) -> None:
    folder = shared_data / "bad"
    assert sorted(path.name for path in folder.iterdir()) == [name for name, _, _ in BAD]
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, *(str(folder / name) for name, _, _ in BAD)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(BAD)
    for (name, samples, word), (got, said, seconds) in zip(BAD, lines, strict=True):
        assert got == samples, name
        assert len(said) == (1 if word else 0), (name, said)
        assert word in "".join(said)
        assert "\n" not in "".join(said)
        assert seconds < 10


def test_bad_numbers_reach_the_cleaning(shared_data: Path) -> None:
    spectra = joined(open_source([str(shared_data / "bad" / "nan_inf_32bit.fil")]))
    # The channel that is all +inf is so in the ten NaN spectra too.
    assert np.isposinf(spectra).all(axis=0).sum() == 1
    assert (np.isnan(spectra).sum(axis=1) == spectra.shape[1] - 1).sum() == 10
    assert np.isneginf(spectra).sum() == 1
