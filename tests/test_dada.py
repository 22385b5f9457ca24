"""PSRDADA: the header as text, and rings in the shared memory of this machine."""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mlppa.data import Block, FilterbankHeader
from mlppa.errors import ConfigError, EndpointError, InputError
from mlppa.formats.bits import pack_bits
from mlppa.formats.dada import read_dada_header
from mlppa.sources import Feed, open_feed

from .conftest import MetricDelta
from .dada_ring import CLEAR, CONNECTED, FULL, DadaRing, Memory

DEADLINE_S = 10.0
SHARED_MEMORY = Path("/proc/sysvipc/shm")
NCHANS = 16

#: As a recorder writes it, to the byte.
GOLDEN = b"""HEADER       DADA                # Distributed aquisition
HDR_VERSION  1.0
HDR_SIZE     4096
# what follows was
NBIT 8 # changed by hand: NBIT 2

TELESCOPE    Effelsberg
SOURCE       J0332+5434
RA           03:32:59.4
DEC          -54:34:43.6
FREQ         1400.0\t\t# MHz
BW           -320
NCHAN        32
NPOL         1
NDIM\t1
TSAMP        54.613333
UTC_START    2024-02-29-18:00:00
PICOSECONDS  250000000000
MJD_START    60369.75
OBS_OFFSET   64000
BEAM         07
FREQ         9999
""".ljust(4096, b"\0")


def text(**changes: object) -> bytes:
    """Make a header; None leaves a keyword out."""
    values = {
        **{"HDR_SIZE": 4096, "NCHAN": NCHANS, "NBIT": 8, "NPOL": 1, "NDIM": 1, "FREQ": 1400.0},
        **{"BW": -16.0, "TSAMP": 1000.0, "UTC_START": "2024-01-01-00:00:00"},
        **changes,
    }
    lines = [f"{name} {value}\n" for name, value in values.items() if value is not None]
    return "".join(lines).encode().ljust(4096, b"\0")


def test_golden_header() -> None:
    header = read_dada_header(GOLDEN)
    assert header.offset_bytes == 64000
    assert header.bytes_per_spectrum == 32
    seen = header.stream
    assert seen.tstart_mjd == pytest.approx(60369.75 + 0.25 / 86400, abs=1e-11)
    assert seen.tsamp_s == pytest.approx(54.613333e-6)
    assert seen.ra_deg == pytest.approx(53.2475)
    assert seen.dec_deg == pytest.approx(-54.5787777778)
    assert (seen.nchans, seen.fch1_mhz, seen.foff_mhz, seen.nbits) == (32, 1555.0, -10.0, 8)
    assert (seen.source_name, seen.telescope, seen.beam) == ("J0332+5434", "Effelsberg", 7)


def test_positive_band_goes_up() -> None:
    stream = read_dada_header(text(BW=32, ORDER="TF", UTC_START="unset", MJD_START=60000.5)).stream
    assert (stream.fch1_mhz, stream.foff_mhz, stream.tstart_mjd) == (1385.0, 2.0, 60000.5)
    assert (stream.ra_deg, stream.beam) == (None, 0)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        *(({name: None}, f"{name} is missing") for name in ("NCHAN", "NBIT", "NPOL", "NDIM")),
        *(({name: None}, f"{name} is missing") for name in ("FREQ", "BW", "TSAMP")),
        ({"UTC_START": None}, "UTC_START is missing"),
        ({"UTC_START": "2024-02-30-00:00:00"}, "UTC_START is 2024-02-30"),
        ({"UTC_START": "2024-02-03-24:00:00"}, "and no time"),
        ({"UTC_START": "unset", "MJD_START": "unset"}, "MJD_START is unset"),
        ({"NCHAN": "many"}, "NCHAN is many, not a number"),
        ({"NCHAN": "16.5"}, "not a whole number"),
        ({"NCHAN": 0}, "0 channels"),
        ({"NCHAN": 10**30}, "nchans"),
        ({"NCHAN": 3, "NBIT": 4}, "3 channels of 4 bits"),
        ({"NBIT": 64}, "of 64 bits"),
        ({"NPOL": 2}, "NPOL is 2"),
        ({"NDIM": 2}, "NDIM is 2"),
        ({"ORDER": "FT"}, "ORDER is FT"),
        ({"HDR_SIZE": 8192}, "HDR_SIZE is 8192"),
        ({"HDR_SIZE": 0}, "HDR_SIZE is 0"),
        ({"OBS_OFFSET": -1}, "OBS_OFFSET is -1"),
        ({"BW": 0}, "foff"),
        ({"BW": "nan"}, "not finite"),
        ({"TSAMP": "inf"}, "not finite"),
        ({"FREQ": -1400}, "0 MHz"),
    ],
)
def test_what_is_not_understood_is_refused(changes: dict[str, object], cause: str) -> None:
    with pytest.raises(InputError, match=cause):
        read_dada_header(text(**changes))


@pytest.mark.parametrize("junk", [b"", b"\0" * 4096, bytes(range(256)) * 16, b"NCHAN\n" * 99])
def test_junk_is_no_header(junk: bytes) -> None:
    with pytest.raises(InputError):
        read_dada_header(junk)


@pytest.fixture
def ring_of() -> Iterator[Callable[..., DadaRing]]:
    """Make rings that are gone at the end, whatever happens."""
    made: list[DadaRing] = []

    def make(**options: Any) -> DadaRing:
        try:
            made.append(DadaRing(**options))
        except OSError as error:
            pytest.skip(f"no System V shared memory here: {error}")
        return made[-1]

    yield make
    for ring in made:
        ring.remove()


@dataclass
class Listener:
    """Reads a feed in a thread of its own."""

    feed: Feed
    headers: list[FilterbankHeader] = field(default_factory=list)
    blocks: list[list[Block]] = field(default_factory=list)
    slow_s: float = 0.0
    most: int | None = None
    fault: BaseException | None = None

    def start(self) -> "Listener":
        self.thread = threading.Thread(target=self._listen)
        self.thread.start()
        return self

    def _listen(self) -> None:
        try:
            for source in self.feed.observations():
                assert (source.live, source.nsamples) == (True, None)
                self.headers.append(source.header)
                self.blocks.append([])
                for block in source.blocks():
                    self.blocks[-1].append(block)
                    time.sleep(self.slow_s)
                    if self.most is not None and block.stop >= self.most:
                        self.feed.close()
        except BaseException as error:
            self.fault = error

    def stop(self) -> None:
        self.feed.close()
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive()
        if self.fault is not None:
            raise self.fault

    def came(self, number: int = 0) -> int:
        """Count the spectra of an observation so far."""
        return sum(len(block.spectra) for blocks in self.blocks[number:][:1] for block in blocks)

    def joined(self, number: int) -> NDArray[Any]:
        """Give the spectra of an observation, which must not have a gap."""
        blocks = self.blocks[number]
        for before, after in itertools.pairwise(blocks):
            assert before.stop == after.start
        return np.concatenate([block.spectra for block in blocks])


type Listen = Callable[..., Listener]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Listen to a ring; all listeners end at the end."""
    listeners: list[Listener] = []

    def start(uri: str, **options: Any) -> Listener:
        listeners.append(Listener(open_feed([uri]), **options).start())
        return listeners[-1]

    yield start
    for listener in listeners:
        listener.stop()


def until(condition: Callable[[], object], seconds: float = DEADLINE_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


def ids_in(table: Path) -> set[str]:
    return {line.split()[1] for line in table.read_text().splitlines()}


def spectra(nsamples: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (nsamples, NCHANS), dtype=np.uint8)


@pytest.mark.parametrize(
    ("nbits", "dtype"), [(1, "u1"), (2, "u1"), (4, "u1"), (8, "u1"), (16, "<u2"), (32, "<f4")]
)
def test_round_trip(
    ring_of: Callable[..., DadaRing], listen: Listen, nbits: int, dtype: str
) -> None:
    rng = np.random.default_rng(nbits)
    top = 2 ** min(nbits, 16)
    sent = rng.integers(0, top, (999, NCHANS)).astype(dtype)
    if nbits == 32:
        sent /= np.float32(7)
    raw = pack_bits(sent.ravel(), nbits) if nbits < 8 else sent
    ring = ring_of(bufsz=1000)
    ring.header(text(NBIT=nbits))
    listener = listen(ring.uri)
    ring.write(raw.tobytes())
    ring.end()
    until(lambda: listener.came() == 999)
    assert listener.headers[0].nbits == nbits
    got = listener.joined(0)
    assert got.dtype == np.dtype(dtype)
    assert (got == sent).all()
    assert all(block.received_s is not None for block in listener.blocks[0])


@pytest.mark.parametrize("bufsz", [7, NCHANS, 100, 1600, 4096])
def test_observations_follow_each_other(
    ring_of: Callable[..., DadaRing], listen: Listen, bufsz: int
) -> None:
    ring = ring_of(bufsz=bufsz)
    listener = listen(ring.uri)
    sizes = (100, 37, 200, 1, 50, 3, 60, 70, 80, 90)  # more than the ring has transfers
    for number, size in enumerate(sizes):
        ring.header(text(SOURCE=f"S{number}"))
        ring.write(spectra(size, number).tobytes())
        ring.end()
    until(lambda: listener.came(len(sizes) - 1) == sizes[-1])
    for number, size in enumerate(sizes):
        assert listener.headers[number].source_name == f"S{number}"
        assert listener.blocks[number][0].start == 0
        assert (listener.joined(number) == spectra(size, number)).all()


def test_end_within_a_spectrum_is_told(
    ring_of: Callable[..., DadaRing], listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    ring = ring_of(bufsz=1600)
    listener = listen(ring.uri)
    ring.header(text())
    ring.write(spectra(130).tobytes() + b"12345")
    ring.end()
    until(lambda: "5 bytes behind the last whole spectrum" in caplog.text)
    assert (listener.joined(0) == spectra(130)).all()


def test_block_is_a_copy(ring_of: Callable[..., DadaRing], listen: Listen) -> None:
    ring = ring_of(bufsz=1600, nbufs=1)
    listener = listen(ring.uri)
    ring.header(text())
    ring.write(spectra(100, 1).tobytes())
    until(lambda: listener.blocks and listener.blocks[0])
    ring.write(spectra(100, 2).tobytes())
    until(lambda: len(listener.blocks[0]) == 2)
    assert (listener.blocks[0][0].spectra == spectra(100, 1)).all()


def test_slow_reader_holds_the_writer(ring_of: Callable[..., DadaRing], listen: Listen) -> None:
    ring = ring_of(bufsz=1600, nbufs=2)
    listener = listen(ring.uri, slow_s=0.05)
    ring.header(text())
    begin_s = time.monotonic()
    for number in range(10):
        ring.write(spectra(100, number).tobytes())
    assert time.monotonic() - begin_s > 6 * 0.05
    ring.end()
    until(lambda: listener.came() == 1000)
    assert (listener.joined(0) == np.concatenate([spectra(100, n) for n in range(10)])).all()


def test_offsets_count_samples(ring_of: Callable[..., DadaRing], listen: Listen) -> None:
    # Five whole spectra and a part were before; the data begin in the first buffer's byte 4.
    ring = ring_of(bufsz=160)
    listener = listen(ring.uri)
    ring.header(text(OBS_OFFSET=5 * NCHANS + 10))
    ring.data.begin(first_byte=4)
    ring.write(b"1234" + b"x" * 6 + spectra(30).tobytes())
    ring.end()
    until(lambda: listener.came() == 30)
    assert listener.blocks[0][0].start == 6
    assert (listener.joined(0) == spectra(30)).all()


def test_nonsense_is_left_out_and_counted(
    ring_of: Callable[..., DadaRing],
    listen: Listen,
    caplog: pytest.LogCaptureFixture,
    metric_delta: type[MetricDelta],
) -> None:
    refused = metric_delta("mlppa_bad_headers_total")
    ring = ring_of(bufsz=160)
    listener = listen(ring.uri)
    for header in (b"\xff" * 4096, text(NCHAN=None), text(SOURCE="good")):
        ring.header(header)
        ring.write(spectra(100).tobytes())  # more than the ring holds: it must be read, too
        ring.end()
    until(lambda: listener.came() == 100)
    assert [header.source_name for header in listener.headers] == ["good"]
    assert refused() == 2
    assert "NCHAN is missing; let the recorder" in caplog.text
    assert caplog.text.count("1600 bytes of an observation were left out") == 2


def test_header_without_data_is_left_out(
    ring_of: Callable[..., DadaRing], listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    ring = ring_of(bufsz=1600)
    ring.header(text(SOURCE="died"))
    ring.header(text(SOURCE="lives"))
    ring.write(spectra(100).tobytes())
    listener = listen(ring.uri)
    until(lambda: listener.came(1) == 100)
    assert [header.source_name for header in listener.headers] == ["died", "lives"]
    assert not listener.blocks[0]
    assert (listener.joined(1) == spectra(100)).all()
    assert "a header without data" in caplog.text


def test_header_before_the_end_is_told(
    ring_of: Callable[..., DadaRing], listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    ring = ring_of(bufsz=1600)
    listener = listen(ring.uri)
    ring.header(text(SOURCE="died"))
    ring.write(spectra(100).tobytes())
    ring.wait_read()
    ring.header(text(SOURCE="lives"))
    until(lambda: "a header came before the end of the data" in caplog.text)
    ring.end()
    ring.header(text(SOURCE="third"))
    ring.write(spectra(100).tobytes())
    until(lambda: listener.came(2) == 100)
    # What follows is in step again.
    assert [header.source_name for header in listener.headers] == ["died", "lives", "third"]
    assert not listener.blocks[1]


def test_quiet_is_told_once(ring_of: Callable[..., DadaRing], listen: Listen) -> None:
    ring = ring_of(bufsz=1600)
    listener = listen(ring.uri)
    ring.header(text(NBIT=4))
    ring.write(spectra(100).tobytes())
    begin_s = time.monotonic()
    until(lambda: listener.blocks and len(listener.blocks[0]) == 2)
    assert 0.9 < time.monotonic() - begin_s < 3
    empty = listener.blocks[0][1]
    assert (empty.start, empty.spectra.shape) == (200, (0, NCHANS))
    time.sleep(1.2)
    assert len(listener.blocks[0]) == 2
    ring.write(spectra(100).tobytes())
    until(lambda: len(listener.blocks[0]) == 3)
    assert listener.blocks[0][2].start == 200


def test_long_buffers_are_no_quiet(ring_of: Callable[..., DadaRing], listen: Listen) -> None:
    ring = ring_of(bufsz=1600)
    listener = listen(ring.uri)
    ring.header(text(TSAMP=50_000))  # a buffer lasts 5 s
    ring.write(spectra(100).tobytes())
    until(lambda: listener.blocks and listener.blocks[0])
    time.sleep(1.3)
    assert len(listener.blocks[0]) == 1


def test_ring_is_waited_for_and_made_again(
    ring_of: Callable[..., DadaRing], listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first = ring_of(bufsz=1600)
    key, uri = first.key, first.uri
    first.remove()
    listener = listen(uri)
    until(lambda: "there is no ring" in caplog.text)
    for number in range(2):
        first.__init__(key=key, bufsz=1600)  # type: ignore[misc]
        first.header(text(SOURCE=f"S{number}"))
        first.write(spectra(100, number).tobytes())
        until(lambda number=number: listener.came(number) == 100)  # type: ignore[misc]
        first.remove()
        until(lambda number=number: caplog.text.count("there is no ring") == number + 2)  # type: ignore[misc]
    # The system keeps removed memory for as long as anyone is connected to it.
    last = {str(slot.id) for slot in (*first.data.slots, *first.headers.slots)}
    until(lambda: not last & ids_in(SHARED_MEMORY))
    time.sleep(0.2)
    assert caplog.text.count("the ring is gone") == 2
    assert caplog.text.count("there is no ring") == 3
    assert [header.source_name for header in listener.headers] == ["S0", "S1"]
    assert (listener.joined(1) == spectra(100, 1)).all()
    first.__init__(key=key)  # type: ignore[misc]
    until(lambda: caplog.text.count("connected") == 3)


@pytest.mark.parametrize("state", ["no ring", "no header", "no data", "data"])
def test_close_while_waiting(ring_of: Callable[..., DadaRing], listen: Listen, state: str) -> None:
    ring = ring_of(bufsz=1600)
    uri = f"dada://{ring.key + 0x8000:x}" if state == "no ring" else ring.uri
    if state in ("no data", "data"):
        ring.header(text())
    if state == "data":
        ring.write(spectra(100).tobytes())
    listener = listen(uri)
    if state in ("no data", "data"):
        until(lambda: listener.blocks and (state == "no data" or listener.blocks[0]))
    else:
        time.sleep(0.1)
    begin_s = time.monotonic()
    listener.stop()
    assert time.monotonic() - begin_s < 0.5
    assert ring.data.sets[0].value(CONNECTED) == ring.headers.sets[0].value(CONNECTED) == 1
    # A header whose data never came is there for the next reader.
    assert ring.headers.sets[0].value(FULL) == (state == "no data")


def test_next_reader_takes_up_the_observation(
    ring_of: Callable[..., DadaRing], listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    ring = ring_of(bufsz=1000, nbufs=16)
    ring.header(text(SOURCE="long"))
    ring.write(spectra(500).tobytes())
    ring.end()
    ring.header(text(SOURCE="next"))
    first = listen(ring.uri, most=200)
    first.thread.join(DEADLINE_S)
    second = listen(ring.uri)
    until(lambda: len(second.headers) == 2)
    assert [header.source_name for header in second.headers] == ["long", "next"]
    # What of a spectrum was in the buffer before is lost; no sample moves.
    lost = second.blocks[0][0].start - first.blocks[0][-1].stop
    assert 0 <= lost <= 1
    assert (first.joined(0) == spectra(500)[: first.blocks[0][-1].stop]).all()
    assert (second.joined(0) == spectra(500)[second.blocks[0][0].start :]).all()
    assert "takes up an observation" in caplog.text


def test_buffer_in_a_dead_hand_is_read_again(
    ring_of: Callable[..., DadaRing], listen: Listen
) -> None:
    ring = ring_of(bufsz=1600, nbufs=8)
    ring.header(text(SOURCE="long"))
    for number in range(3):
        ring.write(spectra(100, number).tobytes())
    first = listen(ring.uri, most=100)
    first.thread.join(DEADLINE_S)
    # PSRDADA's own readers count a buffer as taken before it is cleared.
    ring.data.sets[0].change(FULL, -1)
    second = listen(ring.uri)
    until(lambda: second.came() == 200)
    assert second.blocks[0][0].start == 100
    assert (second.joined(0) == np.concatenate([spectra(100, 1), spectra(100, 2)])).all()


def test_every_reader_has_a_place_of_its_own(
    ring_of: Callable[..., DadaRing], listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    ring = ring_of(bufsz=1600, readers=2)
    listeners = [listen(ring.uri), listen(ring.uri)]
    until(lambda: [one.value(CONNECTED) for one in ring.data.sets] == [0, 0])
    third = listen(ring.uri)
    until(lambda: "all places for readers are taken" in caplog.text)
    ring.header(text())
    ring.write(spectra(300).tobytes())
    ring.wait_read()
    for listener in listeners:
        until(lambda listener=listener: listener.came() == 300)  # type: ignore[misc]
        assert (listener.joined(0) == spectra(300)).all()
    assert not third.headers
    assert [one.value(CLEAR) for one in ring.data.sets] == [3, 3]


def test_closed_source_leaves_the_rest_out(
    ring_of: Callable[..., DadaRing], caplog: pytest.LogCaptureFixture
) -> None:
    ring = ring_of(bufsz=160, nbufs=8)
    for name in ("left", "next"):
        ring.header(text(SOURCE=name))
        ring.write(spectra(30).tobytes())
        ring.end()
    feed = open_feed([ring.uri])
    observations = feed.observations()
    source = next(observations)
    next(source.blocks())
    source.close()
    assert not list(source.blocks())
    assert next(observations).header.source_name == "next"
    assert "320 bytes of an observation were left out" in caplog.text
    feed.close()
    assert not list(observations)


@pytest.mark.parametrize("content", [b"\xff" * 4096, b"\1\0\0\0" * 1024])
def test_something_else_is_no_ring(ring_of: Callable[..., DadaRing], content: bytes) -> None:
    ring = ring_of()
    other = Memory(ring.key + 0x8001, len(content))
    try:
        other.put(0, content)
        with pytest.raises(EndpointError, match="no ring that can be read"):
            next(iter(open_feed([f"dada://{ring.key + 0x8000:x}"]).observations()))
    finally:
        other.remove()


def test_older_layout_and_gpu_are_refused(ring_of: Callable[..., DadaRing]) -> None:
    ring = ring_of()
    ring.data.sync.set(520, 0, "i")
    with pytest.raises(EndpointError, match="the memory of a GPU"):
        next(iter(open_feed([ring.uri]).observations()))
    ring.data.sync.set(520, -1, "i")
    ring.data.sync.set(40, 3)  # the memory is longer than for so many buffers
    with pytest.raises(EndpointError, match="another layout"):
        next(iter(open_feed([ring.uri]).observations()))


@pytest.mark.parametrize("uri", ["dada://nokey", "dada://0", "dada://123456789", "dada://da?x=1"])
def test_key_must_be_one(uri: str) -> None:
    with pytest.raises(ConfigError, match="has no key"):
        open_feed([uri])
