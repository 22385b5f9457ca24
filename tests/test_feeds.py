"""The contract of every live input that has a player: what is played is what is heard.

To join, add a line to `NETWORK`: a function that gives a URI for both ends.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import takewhile

import numpy as np
import pytest

from mlppa.data import Block, FilterbankHeader
from mlppa.formats.heaps import sample_type
from mlppa.players import open_player
from mlppa.sources import Feed, Source, open_feed

HEADER = FilterbankHeader(
    nchans=16,
    fch1_mhz=1500.0,
    foff_mhz=-2.0,
    tsamp_s=1e-3,
    tstart_mjd=60000.25,
    nbits=8,
    source_name="B0531+21",
    telescope="Fake",
    beam=3,
    ra_deg=83.6,
    dec_deg=22.0,
)
SPECTRA = np.random.default_rng(0).integers(0, 256, (1200, 16), dtype=np.uint8)
#: Lengths of the heaps: 0.1 s each, but the last.
HEAP = 100


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def over_spead() -> str:
    return f"spead://127.0.0.1:{free_port()}?beam=0"


def over_zmq() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"zmq://127.0.0.1:{probe.getsockname()[1]}"


NETWORK: list[Callable[[], str]] = [over_spead, over_zmq]


@pytest.fixture(params=NETWORK, ids=lambda make: make.__name__)
def uri(request: pytest.FixtureRequest) -> str:
    return str(request.param())


def play(uri: str, header: FilterbankHeader = HEADER, stop: int = len(SPECTRA)) -> None:
    with closing(open_player(uri)) as player:
        player.begin(header)
        for start in range(0, stop, HEAP):
            player.send(Block(start, SPECTRA[start : min(start + HEAP, stop)]))


def one(feed: Feed) -> Source:
    return next(iter(feed.observations()))


def until_quiet(source: Source) -> list[Block]:
    """Give the blocks up to the first without samples."""
    return list(takewhile(lambda block: len(block.spectra), source.blocks()))


@pytest.fixture
def feed(uri: str) -> Iterator[Feed]:
    with closing(open_feed([uri])) as opened:
        yield opened


def test_what_is_played_is_heard(uri: str, feed: Feed) -> None:
    play(uri)
    source = one(feed)
    assert source.header == HEADER
    assert source.live
    assert source.nsamples is None
    blocks = until_quiet(source)
    assert [block.start for block in blocks[1:]] == [block.stop for block in blocks[:-1]]
    assert blocks[0].start == 0
    assert {block.spectra.dtype for block in blocks} == {sample_type(HEADER.nbits)}
    assert all(block.received_s is not None for block in blocks)
    np.testing.assert_array_equal(np.concatenate([b.spectra for b in blocks]), SPECTRA)


def test_whoever_receives_a_block_owns_it(uri: str, feed: Feed) -> None:
    play(uri)
    total = 0
    for block in until_quiet(one(feed)):
        np.testing.assert_array_equal(block.spectra, SPECTRA[block.start : block.stop])
        block.spectra[:] = 0
        total += len(block.spectra)
    assert total == len(SPECTRA)


def test_silence_is_told_once_with_the_next_index(uri: str, feed: Feed) -> None:
    play(uri)
    blocks = one(feed).blocks()
    told = next(block for block in blocks if not len(block.spectra))
    assert told.start == told.stop == len(SPECTRA)
    assert told.spectra.shape == (0, 16)
    closer = threading.Timer(1.5, feed.close)
    closer.start()
    assert list(blocks) == []
    closer.join()


@pytest.mark.parametrize("playing", [False, True])
def test_close_from_another_thread_ends_it(uri: str, feed: Feed, playing: bool) -> None:
    if playing:
        play(uri)
    closer = threading.Timer(0.3, feed.close)
    closer.start()
    heard = sum(len(b.spectra) for source in feed.observations() for b in source.blocks())
    closer.join()
    assert heard == (len(SPECTRA) if playing else 0)
    assert list(feed.observations()) == []
    feed.close()


def test_close_before_anything_ends_it(feed: Feed) -> None:
    feed.close()
    assert list(feed.observations()) == []


def test_the_address_is_free_again_after_close(uri: str, feed: Feed) -> None:
    feed.close()
    with closing(open_feed([uri])) as again:
        play(uri, stop=HEAP)
        assert one(again).header == HEADER
