"""The ZeroMQ input: real sockets on the loopback, and whatever may come in there."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import numpy as np
import pytest
import zmq
from numpy.typing import NDArray

from mlppa.data import Block, FilterbankHeader
from mlppa.errors import ConfigError, EndpointError
from mlppa.formats.heaps import pack_stream_header
from mlppa.metrics import HEAP_FATES
from mlppa.players import open_player
from mlppa.sources import Source, open_feed
from mlppa.sources.zmq import ZmqFeed

from .conftest import MetricDelta

HEADER = FilterbankHeader(
    nchans=8, fch1_mhz=1500.0, foff_mhz=-5.0, tsamp_s=1e-3, tstart_mjd=60000.5, nbits=8
)
SAMPLES = np.random.default_rng(3).integers(0, 256, (4000, 8), np.uint8)
HEAP = 20

#: After so long nothing more is expected.
PATIENCE_S = 20.0

type Push = Callable[..., object]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlppa.sources.zmq.QUIET_S", 0.25)
    monkeypatch.setattr("mlppa.sources.zmq.NAP_MS", 20)


@pytest.fixture
def feed() -> Iterator[ZmqFeed]:
    with closing(ZmqFeed("zmq://127.0.0.1:*")) as feed:
        yield feed


@pytest.fixture
def push(feed: ZmqFeed) -> Iterator[Push]:
    with pushing(feed) as push:
        yield push


@contextmanager
def pushing(feed: ZmqFeed) -> Iterator[Push]:
    """Send frames to a feed."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.setsockopt(zmq.LINGER, 2000)
        socket.setsockopt(zmq.SNDTIMEO, 5000)
        socket.connect(feed.uri.replace("zmq", "tcp", 1))
        yield lambda *frames: socket.send_multipart(frames)


def hdr(**changes: object) -> tuple[bytes, bytes]:
    return b"hdr", pack_stream_header(replace(HEADER, **changes))  # type: ignore[arg-type]


def blk(start: int, beam: int = 0, size: int = HEAP) -> tuple[bytes, bytes, bytes]:
    place = {"start": start, "nsamples": size, "beam": beam}
    return b"blk", json.dumps(place).encode(), SAMPLES[start : start + size].tobytes()


def heard(feed: ZmqFeed) -> list[tuple[FilterbankHeader, list[Block]]]:
    """Give the observations up to the first silence, each with its blocks."""
    every = []
    timer = threading.Timer(PATIENCE_S, feed.close)
    timer.start()
    for source in feed.observations():
        blocks: list[Block] = []
        every.append((source.header, blocks))
        for block in source.blocks():
            if len(block.spectra):
                blocks.append(block)
            else:
                feed.close()
    timer.cancel()
    return every


def starts(blocks: list[Block]) -> list[int]:
    return [block.start for block in blocks]


def assert_are_the_samples(blocks: list[Block]) -> None:
    for block in blocks:
        np.testing.assert_array_equal(block.spectra, SAMPLES[block.start : block.stop])


def fates(metric_delta: type[MetricDelta]) -> Callable[[], dict[str, float]]:
    """Tell by how much the fates of heaps have grown since now, those that have."""
    counters = {fate: metric_delta("mlppa_heaps_total", fate=fate) for fate in HEAP_FATES}
    return lambda: {fate: count() for fate, count in counters.items() if count()}


def test_what_is_sent_comes_out(feed: ZmqFeed, push: Push, metric_delta: type[MetricDelta]) -> None:
    grown, began_s = fates(metric_delta), time.monotonic()
    push(*hdr())
    for start in range(0, 2000, HEAP):
        push(*blk(start))
    ((header, blocks),) = heard(feed)
    assert header == HEADER
    assert starts(blocks) == list(range(0, 2000, HEAP))
    assert_are_the_samples(blocks)
    for block in blocks:
        assert block.received_s is not None
        assert began_s < block.received_s < time.monotonic()
        block.spectra[:] = 0  # whoever receives it owns it
    assert grown() == {"used": 100}


def test_heaps_out_of_order_find_their_place(
    feed: ZmqFeed, push: Push, metric_delta: type[MetricDelta]
) -> None:
    grown = fates(metric_delta)
    order = [0, 40, 20, 60, 60, 100, 120, *range(140, 980, 20), 80, 980]
    push(*hdr())
    for start in order:
        push(*blk(start))
    ((_, blocks),) = heard(feed)
    assert starts(blocks) == [start for start in range(0, 1000, 20) if start != 80]
    assert_are_the_samples(blocks)
    counts = grown()
    assert counts.pop("late", 0) + counts.pop("stray", 0) == 1
    assert counts == {"used": 49, "duplicate": 1}


PLACE = b'{"start": 0, "nsamples": 20, "beam": 0}'
MALFORMED: list[tuple[bytes, ...]] = [
    (b"",),
    (b"hdr",),
    (b"hdr", b"{}"),
    (b"hdr", b"[1]"),
    (b"hdr", b"\xff\xfe"),
    (b"hdr", pack_stream_header(HEADER), b"more"),
    (b"hdr", pack_stream_header(HEADER).replace(b'"nchans": 8', b'"nchans": -8')),
    (b"blk", PLACE),
    (b"blk", PLACE, b""),
    (b"blk", PLACE, bytes(159)),
    (b"blk", PLACE, bytes(161)),
    (b"blk", PLACE, bytes(160), b""),
    (b"blk", b"not JSON", bytes(160)),
    (b"blk", b"[0, 20, 0]", bytes(160)),
    (b"blk", b'{"start": 0, "nsamples": 20}', bytes(160)),
    (b"blk", PLACE.replace(b"20", b"20.0"), bytes(160)),
    (b"blk", PLACE.replace(b"20", b"-20"), bytes(160)),
    (b"blk", PLACE.replace(b"20", b"0"), b""),
    (b"blk", PLACE.replace(b"20", b"true"), bytes(8)),
    (b"blk", PLACE.replace(b': 0, "n', b': -1, "n'), bytes(160)),
    (b"blk", PLACE.replace(b': 0, "n', b': 9223372036854775807, "n'), bytes(160)),
    (b"blk", PLACE.replace(b': 0, "n', b": " + b"9" * 4000 + b', "n'), bytes(160)),
    (b"blk", PLACE + b" " * 5000 + b"x", bytes(160)),
    (b"noise", bytes(1000), b""),
]


def test_what_is_malformed_is_left_out_and_counted(
    feed: ZmqFeed,
    push: Push,
    metric_delta: type[MetricDelta],
    caplog: pytest.LogCaptureFixture,
) -> None:
    grown = fates(metric_delta)
    push(*hdr())
    for place, frames in enumerate(MALFORMED):
        push(*blk(place * HEAP))
        push(*frames)
    ((_, blocks),) = heard(feed)
    assert len(blocks) == len(MALFORMED)
    assert_are_the_samples(blocks)
    # white space behind the place is none of our business
    assert grown() == {"used": len(MALFORMED), "malformed": len(MALFORMED) - 1, "duplicate": 1}
    assert len(caplog.records) == 1


def test_random_frames_do_no_harm(feed: ZmqFeed, push: Push) -> None:
    rng = np.random.default_rng(7)
    push(*hdr())
    for place in range(50):
        push(*blk(place * HEAP))
        kinds = [b"hdr", b"blk", rng.bytes(3)]
        push(kinds[rng.integers(3)], *(rng.bytes(n) for n in rng.integers(0, 200, rng.integers(4))))
    ((_, blocks),) = heard(feed)
    assert starts(blocks) == list(range(0, 50 * HEAP, HEAP))


def test_another_beam_is_foreign(
    feed: ZmqFeed, push: Push, metric_delta: type[MetricDelta], caplog: pytest.LogCaptureFixture
) -> None:
    grown = fates(metric_delta)
    push(*hdr(beam=2))
    for place in range(10):
        push(*blk(place * HEAP, beam=2))
        push(*blk(place * HEAP, beam=3))
    push(*hdr(beam=3))
    push(*blk(10 * HEAP, beam=2))
    ((header, blocks),) = heard(feed)
    assert header.beam == 2
    assert len(blocks) == 11
    assert grown() == {"used": 11, "foreign": 11}
    assert "beam 3 at the input of beam 2" in caplog.text


def test_the_beam_may_be_asked_for() -> None:
    with closing(ZmqFeed("zmq://127.0.0.1:*?beam=7")) as feed, pushing(feed) as push:
        for message in (hdr(), blk(0), hdr(beam=7), blk(0), blk(20, beam=7)):
            push(*message)
        ((header, blocks),) = heard(feed)
    assert header.beam == 7
    assert starts(blocks) == [20]


def test_another_header_is_another_observation(feed: ZmqFeed, push: Push) -> None:
    for changes in ({}, {"tstart_mjd": 60001.0}, {}):
        for start in (0, 20, 60, 40):
            push(*hdr(**changes))  # repeated, it says nothing new
            push(*blk(start))
    push(*hdr(tsamp_s=2e-3))  # nothing follows: no observation
    threading.Timer(1.0, feed.close).start()
    every = heard(feed)
    assert [header.tstart_mjd for header, _ in every] == [60000.5, 60001.0, 60000.5]
    for _, blocks in every:
        assert starts(blocks) == [0, 20, 40, 60]
        assert_are_the_samples(blocks)


def test_a_counter_that_is_set_back_is_another_observation(
    feed: ZmqFeed, push: Push, metric_delta: type[MetricDelta]
) -> None:
    grown = fates(metric_delta)
    push(*hdr())
    for start in [*range(2000, 3000, HEAP), *range(0, 200, HEAP)]:
        push(*blk(start))
    every = heard(feed)
    assert [header for header, _ in every] == [HEADER, HEADER]
    assert starts(every[0][1]) == list(range(2000, 3000, HEAP))
    assert starts(every[1][1]) == list(range(0, 200, HEAP))
    assert_are_the_samples(every[0][1] + every[1][1])
    assert grown() == {"used": 60}


def test_silence_is_told_once_until_something_comes(feed: ZmqFeed, push: Push) -> None:
    push(*hdr())
    for start in (0, 20, 60):  # a hole that nothing fills any more
        push(*blk(start))
    blocks = next(feed.observations()).blocks()
    assert starts([next(blocks) for _ in range(3)]) == [0, 20, 60]
    empty = next(blocks)
    assert (empty.start, empty.spectra.shape, empty.spectra.dtype.name) == (80, (0, 8), "uint8")
    assert empty.received_s is not None
    timer = threading.Timer(0.6, push, blk(80))
    timer.start()
    push(*hdr())
    assert next(blocks).start == 80
    assert next(blocks).start == 100
    timer.join()


def test_heaps_before_any_header_wait_for_none(
    feed: ZmqFeed, push: Push, metric_delta: type[MetricDelta]
) -> None:
    grown = fates(metric_delta)
    for message in (blk(0), blk(20), hdr(), blk(40)):
        push(*message)
    ((_, blocks),) = heard(feed)
    assert starts(blocks) == [40]
    assert grown() == {"used": 1, "stray": 2}


def test_a_header_may_be_known_before() -> None:
    with closing(ZmqFeed("zmq://127.0.0.1:*", HEADER)) as feed, pushing(feed) as push:
        push(*blk(0))
        push(*blk(20))
        ((header, blocks),) = heard(feed)
    assert header == HEADER
    assert starts(blocks) == [0, 20]


def test_a_message_that_is_too_large_ends_a_connection_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mlppa.sources.zmq.LONGEST_MESSAGE_BYTES", 1000)
    with closing(ZmqFeed("zmq://127.0.0.1:*")) as feed, zmq.Context() as context:
        address = feed.uri.replace("zmq", "tcp", 1)
        with context.socket(zmq.PUSH) as large, context.socket(zmq.PUSH) as small:
            for socket in (large, small):
                socket.setsockopt(zmq.LINGER, 0)
                socket.connect(address)
            large.send_multipart(blk(0, size=500))
            for message in (hdr(), blk(0), blk(20)):
                small.send_multipart(message)
            ((_, blocks),) = heard(feed)
    assert starts(blocks) == [0, 20]


@pytest.mark.parametrize("begun", [False, True])
def test_close_from_another_thread_ends_it(feed: ZmqFeed, push: Push, begun: bool) -> None:
    def listen() -> None:
        for source in feed.observations():
            for _ in source.blocks():
                came.set()

    came = threading.Event()
    thread = threading.Thread(target=listen)
    thread.start()
    if begun:
        push(*hdr())
        for start in range(0, 1000, HEAP):
            push(*blk(start))
        assert came.wait(5)
    feed.close()
    thread.join(2)
    assert not thread.is_alive()
    ZmqFeed(feed.uri).close()  # the port is free


def test_a_source_ends_when_it_is_closed(feed: ZmqFeed, push: Push) -> None:
    push(*hdr())
    for start in range(0, 1000, HEAP):
        push(*blk(start))
    source: Source = next(feed.observations())
    assert (source.live, source.nsamples) == (True, None)
    blocks = source.blocks()
    next(blocks)
    source.close()
    assert len(list(blocks)) < 50


def test_an_address_that_cannot_be_had(feed: ZmqFeed) -> None:
    with pytest.raises(EndpointError, match="end the program that uses it"):
        open_feed([feed.uri])
    with pytest.raises(EndpointError, match="name an address of this machine"):
        open_feed(["zmq://192.0.2.1:7150"])


@pytest.mark.parametrize(
    ("uri", "cause"),
    [
        ("zmq://127.0.0.1", "not an address"),
        ("zmq://127.0.0.1:70000", "between"),
        ("zmq://:port", "not an address"),
        ("zmq://127.0.0.1:*?beam=x", "beam=x"),
        ("zmq://127.0.0.1:*?beam=-1", "beam=-1"),
        ("zmq://127.0.0.1:*?gain=1", "unknown option gain"),
    ],
)
def test_uris_that_are_none(uri: str, cause: str) -> None:
    with pytest.raises(ConfigError, match=cause) as raised:
        open_feed([uri])
    assert uri in str(raised.value)
    with pytest.raises(ConfigError):
        open_player(uri)


def test_without_a_host_it_is_this_machine_alone() -> None:
    with closing(ZmqFeed("zmq://:*")) as feed:
        assert feed.uri.startswith("zmq://127.0.0.1:")


def spectra_of(nbits: int) -> NDArray[np.generic]:
    rng = np.random.default_rng(nbits)
    if nbits == 32:
        return rng.standard_normal((200, 8)).astype("<f4")
    return rng.integers(0, 1 << nbits, (200, 8)).astype("u1" if nbits < 16 else "<u2")


@pytest.mark.parametrize("nbits", [1, 2, 4, 8, 16, 32])
def test_the_player_sends_what_the_feed_takes(feed: ZmqFeed, nbits: int) -> None:
    header, spectra = replace(HEADER, nbits=nbits, source_name="J0534+2200"), spectra_of(nbits)
    with closing(open_player(feed.uri)) as player:
        player.begin(header)
        for start in range(0, 200, HEAP):
            player.send(Block(start, spectra[start : start + HEAP]))
    ((came, blocks),) = heard(feed)
    assert came == header
    joined = np.concatenate([block.spectra for block in blocks])
    assert joined.dtype == spectra.dtype
    np.testing.assert_array_equal(joined, spectra)
