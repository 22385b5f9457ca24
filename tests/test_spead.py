"""SPEAD over real sockets, with all that networks and senders do to it."""

import logging
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spead2
import spead2.send
from numpy.typing import NDArray

from mlppa.data import Block, FilterbankHeader
from mlppa.errors import ConfigError, EndpointError
from mlppa.formats.heaps import pack_stream_header
from mlppa.formats.spead import COUNTS, LARGEST_HEAP
from mlppa.players import open_player
from mlppa.players.spead import SpeadPlayer
from mlppa.sources import open_feed
from mlppa.sources.spead import SpeadFeed, SpeadSource, open_spead

from .conftest import MetricDelta
from .test_feeds import HEADER, SPECTRA, free_port, play, until_quiet

HEAP = 100
FATES = ("used", "duplicate", "late", "foreign", "stray", "malformed", "incomplete")


@pytest.fixture(autouse=True)
def _short_silences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlppa.sources.spead.QUIET_S", 0.25)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def uri(port: int) -> str:
    return f"spead://127.0.0.1:{port}"


@pytest.fixture
def feed(uri: str) -> Iterator[SpeadFeed]:
    with closing(open_spead([uri], None)) as opened:
        yield opened


@pytest.fixture
def fates(metric_delta: type[MetricDelta]) -> dict[str, MetricDelta]:
    return {fate: metric_delta("mlppa_heaps_total", fate=fate) for fate in FATES}


def counted(fates: dict[str, MetricDelta]) -> dict[str, float]:
    return {fate: grown() for fate, grown in fates.items() if grown()}


class Wire:
    """A sender that may do anything: heaps as packets, to be sent in any order."""

    def __init__(self, port: int, packet: int = 700) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._to = ("127.0.0.1", port)
        self._packet = packet
        self._count = random.randrange(1 << 40)

    def close(self) -> None:
        self._socket.close()

    def packets(self, numbers: dict[int, int], payloads: dict[int, NDArray[Any]]) -> list[bytes]:
        heap = spead2.send.Heap(spead2.Flavour(4, 64, 48, 0))
        for number, value in numbers.items():
            heap.add_item(spead2.Item(number, "", "", (), format=[("u", 48)], value=value))
        for number, payload in payloads.items():
            octets = np.ascontiguousarray(payload).view(np.uint8).ravel()
            heap.add_item(spead2.Item(number, "", "", (None,), format=[("u", 8)], value=octets))
        self._count += 1
        return [bytes(p) for p in spead2.send.PacketGenerator(heap, self._count, self._packet)]

    def heap(self, start: int, spectra: NDArray[Any] | None = None, beam: int = 0) -> list[bytes]:
        if spectra is None:
            spectra = SPECTRA[start : start + HEAP]
        return self.packets({0x1600: start % COUNTS, 0x4103: 0, 0x5002: beam}, {0x5000: spectra})

    def header(self, header: FilterbankHeader = HEADER) -> list[bytes]:
        text = np.frombuffer(pack_stream_header(header), np.uint8)
        return self.packets({}, {0x5100: text})

    def send(self, *heaps: list[bytes]) -> None:
        for heap in heaps:
            for packet in heap:
                self._socket.sendto(packet, self._to)


@pytest.fixture
def wire(port: int) -> Iterator[Wire]:
    with closing(Wire(port)) as opened:
        yield opened


def starts(blocks: list[Block]) -> list[int]:
    return [block.start for block in blocks]


def hear(feed: SpeadFeed) -> list[Block]:
    return until_quiet(next(feed.observations()))


def assert_spectra(blocks: list[Block]) -> None:
    for block in blocks:
        np.testing.assert_array_equal(block.spectra, SPECTRA[block.start : block.stop])


@pytest.mark.parametrize("nbits", [1, 2, 4, 8, 16, 32])
def test_every_number_of_bits(uri: str, feed: SpeadFeed, nbits: int) -> None:
    rng = np.random.default_rng(nbits)
    if nbits == 32:
        sent = rng.normal(size=(300, 16)).astype(np.float32)
    else:
        sent = rng.integers(0, 2**nbits, (300, 16), np.uint16 if nbits == 16 else np.uint8)
    with closing(open_player(uri)) as player:
        player.begin(replace(HEADER, nbits=nbits))
        for start in range(0, 300, 70):
            player.send(Block(start, sent[start : start + 70]))
    source = next(feed.observations())
    spectra = np.concatenate([block.spectra for block in until_quiet(source)])
    assert source.header == replace(HEADER, nbits=nbits)
    assert spectra.dtype == sent.dtype
    np.testing.assert_array_equal(spectra, sent)


@pytest.mark.parametrize(
    ("kind", "nbits"), [(np.int8, 32), (np.uint16, 16), (np.uint32, 32), (np.float64, 32)]
)
def test_a_player_sends_what_the_samples_are_not_what_the_file_had(
    uri: str, feed: SpeadFeed, kind: type[np.number[Any]], nbits: int
) -> None:
    sent = (SPECTRA[:HEAP].astype(np.int64) - 100 * (kind is np.int8)).astype(kind)
    with closing(SpeadPlayer(uri)) as player:
        player.begin(HEADER)
        player.send(Block(0, sent))
    source = next(feed.observations())
    assert source.header == replace(HEADER, nbits=nbits)
    np.testing.assert_array_equal(until_quiet(source)[0].spectra, sent)


def test_padding_is_not_sent_and_one_channel_is_small(uri: str, feed: SpeadFeed) -> None:
    valid = np.ones(20, np.bool_)
    valid[[0, 7, 8, 19]] = False
    two = replace(HEADER, nchans=2)
    with closing(SpeadPlayer(uri)) as player:
        player.begin(two)
        player.send(Block(0, SPECTRA[:20, :2], valid))
        player.send(Block(20, SPECTRA[20:21, :2]))
        player.send(Block(21, SPECTRA[:0, :2]))
    blocks = hear(feed)
    assert [(block.start, block.stop) for block in blocks] == [(1, 7), (9, 19), (20, 21)]
    for block in blocks:
        np.testing.assert_array_equal(block.spectra, SPECTRA[block.start : block.stop, :2])


def test_the_header_is_repeated(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlppa.players.spead.HEADER_EVERY_S", 0.0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", port))
        listener.settimeout(2)
        play(f"spead://127.0.0.1:{port}", stop=2 * HEAP)
        told = [pack_stream_header(HEADER) in listener.recv(9000) for _ in range(4)]
    assert told == [True, False, True, False]


def test_heaps_and_packets_out_of_order(
    feed: SpeadFeed, wire: Wire, fates: dict[str, MetricDelta]
) -> None:
    heaps = [wire.heap(start) for start in range(0, 1200, HEAP)]
    assert len(heaps[0]) > 2
    wire.send(wire.header())
    for i in (1, 0, 3, 2, 5, 4, 6, 8, 7, 11, 9, 10):
        wire.send(heaps[i][::-1])
    blocks = hear(feed)
    assert starts(blocks) == list(range(0, 1200, HEAP))
    assert_spectra(blocks)
    assert counted(fates) == {"used": 12}


def test_heaps_whose_packets_are_mixed(feed: SpeadFeed, wire: Wire) -> None:
    heaps = [wire.heap(start) for start in range(0, 1200, HEAP)]
    wire.send(wire.header(), *map(list, zip(*heaps, strict=True)))
    blocks = hear(feed)
    assert starts(blocks) == list(range(0, 1200, HEAP))
    assert_spectra(blocks)


def test_heaps_that_come_twice(feed: SpeadFeed, wire: Wire, fates: dict[str, MetricDelta]) -> None:
    heaps = [wire.heap(start) for start in range(0, 1200, HEAP)]
    wire.send(wire.header(), *[h for heap in heaps for h in (heap, heap)], heaps[9])
    assert starts(hear(feed)) == list(range(0, 1200, HEAP))
    assert counted(fates) == {"used": 12, "duplicate": 13}


def test_a_lost_heap_and_a_lost_packet_are_gaps(
    feed: SpeadFeed, wire: Wire, fates: dict[str, MetricDelta]
) -> None:
    long = np.concatenate([SPECTRA, SPECTRA, SPECTRA])
    heaps = [wire.heap(start, long[start : start + HEAP]) for start in range(0, 3600, HEAP)]
    heaps[3], heaps[6] = [], heaps[6][:-1]
    wire.send(wire.header(), *heaps)
    assert starts(hear(feed)) == [s for s in range(0, 3600, HEAP) if s not in (300, 600)]
    # spead2 gives a heap up when many others have come
    assert counted(fates) == {"used": 34, "incomplete": 1}


def test_the_counter_wraps(feed: SpeadFeed, wire: Wire) -> None:
    begin = COUNTS - 5 * HEAP
    rest = [(begin + s, SPECTRA[s : s + HEAP]) for s in range(0, 1200, HEAP)]
    wire.send(wire.header(), *[wire.heap(start, spectra) for start, spectra in rest])
    blocks = hear(feed)
    assert starts(blocks) == [start for start, _ in rest]
    assert blocks[-1].stop == COUNTS + 700


def test_a_jump_is_a_gap_and_a_stray_is_not_believed(
    feed: SpeadFeed, wire: Wire, fates: dict[str, MetricDelta]
) -> None:
    hours = 10**9
    far = [wire.heap(hours + s, SPECTRA[:HEAP]) for s in range(0, 400, HEAP)]
    near = [wire.heap(s) for s in (0, 100, 200)]
    wire.send(wire.header(), near[0], far[0], far[1], near[1], near[2], *far)
    assert starts(hear(feed)) == [0, 100, 200, *range(hours, hours + 400, HEAP)]
    assert counted(fates) == {"used": 7, "stray": 2}


def test_a_reset_counter_is_another_observation(
    feed: SpeadFeed, wire: Wire, fates: dict[str, MetricDelta]
) -> None:
    first = [wire.heap(start, SPECTRA[:HEAP]) for start in range(5000, 6000, HEAP)]
    again = [wire.heap(start) for start in (100, 0, *range(200, 1200, HEAP))]
    wire.send(wire.header(), *first, *again)
    observations = feed.observations()
    # no silence: the source ends by itself
    assert starts(list(next(observations).blocks())) == list(range(5000, 6000, HEAP))
    following = next(observations)
    assert following.header == HEADER
    blocks = until_quiet(following)
    assert starts(blocks) == list(range(0, 1200, HEAP))
    assert_spectra(blocks)
    assert counted(fates) == {"used": 22}


@pytest.mark.parametrize(
    "change",
    [{"tstart_mjd": 60001.0}, {"tsamp_s": 2e-3}, {"fch1_mhz": 1600.0}, {"nchans": 8}],
)
def test_another_header_is_another_observation(
    feed: SpeadFeed, wire: Wire, change: dict[str, Any]
) -> None:
    other = replace(HEADER, **change)
    wire.send(wire.header(), wire.heap(0), wire.header(), wire.heap(100), wire.header(other))
    wire.send(wire.heap(0, SPECTRA[:HEAP, : other.nchans]), wire.header(other))
    observations = feed.observations()
    assert starts(list(next(observations).blocks())) == [0, 100]
    source = next(observations)
    assert source.header == other
    blocks = until_quiet(source)
    assert starts(blocks) == [0]
    np.testing.assert_array_equal(blocks[0].spectra, SPECTRA[:HEAP, : other.nchans])


def test_a_telescope_that_tracks_goes_on(feed: SpeadFeed, wire: Wire) -> None:
    moved = replace(HEADER, ra_deg=83.7)
    wire.send(wire.header(), wire.heap(0), wire.header(moved), wire.heap(100))
    assert starts(hear(feed)) == [0, 100]


def test_a_sender_that_goes_and_comes_back(feed: SpeadFeed, wire: Wire) -> None:
    wire.send(wire.header(), wire.heap(0), wire.heap(100))
    blocks = next(feed.observations()).blocks()
    assert starts(list(islice(blocks, 3))) == [0, 100, 200]
    wire.send(wire.heap(500))
    wire.send(wire.heap(600))
    assert [(b.start, b.stop) for b in islice(blocks, 3)] == [(500, 600), (600, 700), (700, 700)]


def test_a_stream_is_known_although_its_header_comes_late(feed: SpeadFeed, wire: Wire) -> None:
    wire.send(wire.heap(0), wire.heap(100), wire.header(), wire.heap(200))
    assert starts(hear(feed)) == [0, 100, 200]


def test_a_stream_without_header_is_that_of_the_known_one(
    uri: str, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlppa.sources.spead.PATIENCE_S", 0.1)
    with closing(open_spead([f"{uri}?heaps=2"], HEADER)) as feed:
        # more than are kept: it begins all the same, with the last
        wire.send(*[wire.heap(start) for start in range(0, 500, HEAP)])
        source = next(feed.observations())
        assert source.header == HEADER
        assert starts(until_quiet(source)) == [300, 400]


def test_the_stream_is_believed_where_it_differs_from_the_known_header(
    uri: str, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(open_spead([uri], replace(HEADER, tsamp_s=2e-3, tstart_mjd=0.0))) as feed:
        wire.send(wire.heap(0), wire.header(), wire.heap(100), wire.header())
        source = next(feed.observations())
        assert source.header == HEADER
        assert starts(until_quiet(source)) == [0, 100]
    told = [r.getMessage() for r in caplog.records if "is believed" in r.getMessage()]
    assert len(told) == 1
    assert told[0].endswith("not the header given: tsamp_s is 0.001, not 0.002")


def test_without_any_header_nothing_grows(
    uri: str, wire: Wire, fates: dict[str, MetricDelta], caplog: pytest.LogCaptureFixture
) -> None:
    with closing(open_spead([f"{uri}?heaps=4"], None)) as feed:
        closer = threading.Timer(0.5, feed.close)
        closer.start()
        wire.send(*[wire.heap(start) for start in range(0, 1000, HEAP)])
        assert list(feed.observations()) == []
        closer.join()
    assert counted(fates) == {"foreign": 6}
    assert caplog.text.count("no header has come") == 1


def test_what_is_of_others_is_left_out(
    uri: str,
    wire: Wire,
    fates: dict[str, MetricDelta],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with closing(open_spead([f"{uri}?beam=2"], None)) as feed:
        elsewhere = wire.packets({0x1600: 0, 0x4103: 16, 0x5002: 2}, {0x5000: SPECTRA[:HEAP]})
        other = [wire.heap(start, beam=7) for start in range(0, 500, HEAP)]
        nothing = wire.packets({0x1600: 0}, {0x1234: SPECTRA[:HEAP]})
        wire.send(wire.header(), *other, elsewhere, nothing, wire.heap(0, beam=2))
        assert starts(hear(feed)) == [0]
    assert counted(fates) == {"used": 1, "foreign": 7}
    assert "foreign heaps are left out: beam 7, not 2: ?beam=7 takes that" in caplog.text
    assert len(caplog.records) == 1 + ("rmem_max" in caplog.text)


def test_what_has_another_shape_is_left_out(
    feed: SpeadFeed, wire: Wire, fates: dict[str, MetricDelta], caplog: pytest.LogCaptureFixture
) -> None:
    bad = [
        wire.heap(100, SPECTRA[:7, :3]),
        wire.packets({0x4103: 0}, {0x5000: SPECTRA[:HEAP]}),
        wire.packets({0x4103: 0}, {0x5000: SPECTRA[:HEAP], 0x1600: SPECTRA[:1]}),
        wire.packets({}, {0x5100: np.frombuffer(b'{"nchans": 16}', np.uint8)}),
        wire.packets({}, {0x5100: np.frombuffer(b"\xff" * 5000, np.uint8)}),
    ]
    wire.send(wire.header(), wire.heap(0), *bad, wire.heap(100))
    assert starts(hear(feed)) == [0, 100]
    assert counted(fates) == {"used": 2, "malformed": len(bad)}
    assert caplog.text.count("malformed heaps are left out") == 1


def test_spectra_at_an_odd_address_are_moved(feed: SpeadFeed, wire: Wire) -> None:
    sent = np.arange(1600, dtype=np.uint16).reshape(100, 16)
    first = np.zeros(3, np.uint8)
    odd = wire.packets({0x1600: 0}, {0x4999: first, 0x5000: sent})
    wire.send(wire.header(replace(HEADER, nbits=16)), odd)
    (block,) = hear(feed)
    assert block.spectra.flags.aligned
    np.testing.assert_array_equal(block.spectra, sent)


def damaged(rng: random.Random, packet: bytes) -> bytes:
    """Give a packet with some bits turned, or cut off, or noise."""
    kind = rng.randrange(4)
    if kind == 0:
        return rng.randbytes(rng.randrange(0, 2000))
    if kind == 1:
        return packet[: rng.randrange(len(packet))]
    octets = bytearray(packet)
    for _ in range(rng.randint(1, 4)):
        octets[rng.randrange(100 if kind == 2 else len(octets))] ^= 1 << rng.randrange(8)
    return bytes(octets)


def test_damaged_packets_do_no_harm(
    feed: SpeadFeed,
    wire: Wire,
    port: int,
    caplog: pytest.LogCaptureFixture,
    metric_delta: type[MetricDelta],
) -> None:
    caplog.set_level(logging.INFO)
    dropped = metric_delta("mlppa_packets_dropped_total")
    rng = random.Random(1)
    wire.send(wire.header())
    source = next(feed.observations())
    blocks = source.blocks()
    for _ in range(40):
        heap = wire.heap(0)
        wire.send([damaged(rng, packet) for packet in heap for _ in range(30)])
        time.sleep(0.002)
    # damaged packets may pose as heaps to come of the same sender
    expected = set(range(20_000, 24_000, HEAP))
    with closing(Wire(port)) as another:
        another.send(*[another.heap(start, SPECTRA[:HEAP]) for start in sorted(expected)])
    came: set[int] = set()
    for block in blocks:
        came.add(block.start)
        if expected <= came and not len(block.spectra):
            break
    assert dropped() > 100
    assert len([r for r in caplog.records if r.name == "spead2"]) < 20


@pytest.mark.parametrize("length", [LARGEST_HEAP + 1, 1 << 40, (1 << 48) - 1])
def test_a_heap_that_claims_to_be_huge_takes_no_memory(
    feed: SpeadFeed, wire: Wire, length: int
) -> None:
    good = wire.heap(0)[0]
    at = good.index(b"\x80\x02")
    wire.send([good[:at] + b"\x80\x02" + length.to_bytes(6) + good[at + 8 :]] * 20)
    wire.send(wire.header(), wire.heap(0), wire.heap(100))
    assert starts(hear(feed)) == [0, 100]


def test_a_heap_that_ends_the_stream_does_not_end_the_input(feed: SpeadFeed, wire: Wire) -> None:
    heap = spead2.send.Heap(spead2.Flavour(4, 64, 48, 0))
    heap.add_end()
    end = [bytes(p) for p in spead2.send.PacketGenerator(heap, 12345, 1400)]
    wire.send(wire.header(), wire.heap(0), end, wire.heap(100))
    assert starts(hear(feed)) == [0, 100]


def test_a_full_ring_is_a_gap(uri: str, metric_delta: type[MetricDelta]) -> None:
    dropped = metric_delta("mlppa_packets_dropped_total")
    many = np.zeros((200_000, 16), np.uint8)
    with (
        closing(open_spead([f"{uri}?heaps=2&buffer=65536"], None)) as feed,
        closing(SpeadPlayer(uri)) as player,
    ):
        player.begin(HEADER)
        for start in range(0, 200_000, 1000):
            player.send(Block(start, many[:1000]))
        blocks = next(feed.observations()).blocks()
        assert next(blocks).start == 0
        for start in range(200_000, 202_000, 1000):
            player.send(Block(start, many[:1000]))
            time.sleep(0.05)
        rest = []
        for block in blocks:
            rest.append(block)
            if block.stop == 202_000:
                break
    assert len(rest) < 100
    assert dropped() > 100


@pytest.mark.parametrize(
    ("bad", "error", "said"),
    [
        ("spead://127.0.0.1", ConfigError, "no address of the form"),
        ("spead://127.0.0.1:99999", ConfigError, "is no address"),
        ("spead://127.0.0.1:0", ConfigError, "no address of the form"),
        ("spead://127.0.0.1:7148/path", ConfigError, "no address of the form"),
        ("spead://127.0.0.1:7148?beam=-1", ConfigError, "beam is '-1'; give a whole number from 0"),
        ("spead://127.0.0.1:7148?heaps=1", ConfigError, "heaps is '1'"),
        ("spead://127.0.0.1:7148?buffer=32M", ConfigError, "buffer is '32M'"),
        ("spead://127.0.0.1:7148?rate=1", ConfigError, "unknown option rate; leave it out; there"),
        ("spead://127.0.0.1:7148?interface=127.0.0.1", ConfigError, "is for multicast groups"),
        ("spead://239.1.2.3:7148?interface=eth0", ConfigError, "interface is 'eth0'"),
        ("spead://[::1]:7148", EndpointError, "is not known"),
        ("spead://192.0.2.1:7148", EndpointError, "0.0.0.0 for all of them"),
        ("spead://239.1.2.3:7148?interface=192.0.2.1", EndpointError, "give interface=IP"),
    ],
)
def test_addresses_that_cannot_be_are_refused(bad: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        open_feed([bad])


def test_a_port_in_use_is_refused(uri: str, feed: SpeadFeed) -> None:
    with pytest.raises(EndpointError, match=r"in use\); end the program that uses it"):
        open_spead([uri], None)


def test_a_small_receive_buffer_is_told(uri: str, caplog: pytest.LogCaptureFixture) -> None:
    limit = Path("/proc/sys/net/core/rmem_max")
    if not limit.is_file() or (most := int(limit.read_text())) >= 1 << 30:
        pytest.skip("the kernel tells no limit")
    open_spead([f"{uri}?buffer={most}"], None).close()
    assert not caplog.records
    open_spead([f"{uri}?buffer={most + 4096}"], None).close()
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert f"the receive buffer is {most} bytes" in record.getMessage()
    assert f"sysctl -w net.core.rmem_max={most + 4096}" in record.getMessage()


def test_a_multicast_group_is_joined(port: int) -> None:
    uri = f"spead://239.251.7.148:{port}?interface=127.0.0.1"
    try:
        feeds = [open_spead([uri], None) for _ in range(2)]
    except EndpointError as error:
        pytest.skip(f"no multicast on this machine: {error}")
    play(uri, stop=300)
    for feed in feeds:
        with closing(feed):
            closer = threading.Timer(3, feed.close)
            closer.start()
            heard = [starts(until_quiet(source)) for source in islice(feed.observations(), 1)]
            closer.cancel()
            assert heard == [[0, 100, 200]]


def test_a_signal_handler_may_close(feed: SpeadFeed) -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: feed.close())
    try:
        killer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1))
        killer.start()
        assert list(feed.observations()) == []
        killer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_source_that_is_closed_leaves_the_feed_open(feed: SpeadFeed, wire: Wire) -> None:
    wire.send(wire.header(), wire.heap(0))
    observations: Iterator[SpeadSource] = feed.observations()
    source = next(observations)
    source.close()
    assert starts(list(source.blocks())) == []
    wire.send(wire.heap(100))
    assert starts(until_quiet(next(observations))) == [100]


def test_nobody_need_listen(uri: str) -> None:
    """Who comes later hears what is sent then, and nothing of before."""
    play(uri, stop=300)
    with closing(open_spead([uri], None)) as later:
        play(uri, stop=100)
        assert starts(until_quiet(next(later.observations()))) == [0]


@pytest.mark.parametrize("wrong", ["nowhere:1", "spead", ""])
def test_players_that_are_not_there(wrong: str) -> None:
    with pytest.raises(ConfigError, match="there is no player for it"):
        open_player(wrong)


def test_a_player_names_what_it_cannot_reach() -> None:
    with pytest.raises(EndpointError, match="cannot be sent to"):
        play("spead://239.1.2.3:7148?interface=192.0.2.1")
