"""Replays: at the telescope's pace, with faults that are known to the sample."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mlppa.data import Block, FilterbankHeader
from mlppa.errors import ConfigError, InputError, SinkError
from mlppa.formats.sigproc import read_header
from mlppa.players import open_player
from mlppa.players.faults import CHANCES, read_faults
from mlppa.replay import MISSING, Play, Replay
from mlppa.sources import Source, open_feed, open_source
from mlppa.sources.memory import MemorySource
from mlppa.sources.pace import NAP_S, Pace, cut, heap_samples
from mlppa.sources.zmq import ZmqFeed

from . import test_zmq_feed
from .calling import Call
from .test_sources import later, write_fil
from .test_zmq_feed import heard

MLPPA = Path(sys.executable).with_name("mlppa")
HEADER = replace(test_zmq_feed.HEADER, telescope="Fake")  # as SIGPROC calls an unknown one
SAMPLES = np.random.default_rng(4).integers(0, 256, (5000, 8), np.uint8)


class FakeClock:
    """A clock that moves when it is slept on, and a bit when it is read."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        self.now_s += 1e-5
        return self.now_s

    def sleep(self, seconds: float) -> None:
        assert 0 < seconds <= NAP_S
        self.now_s += seconds + 2e-4  # sleeps end late

    def pace(self, tsamp_s: float, speed: float = 1.0) -> Pace:
        return Pace(tsamp_s, speed, self, self.sleep)


class Kept:
    """A player that keeps what it gets, and when; it refuses what begins in ``refused``."""

    def __init__(self, refused: Sequence[int] = ()) -> None:
        self.header: FilterbankHeader | None = None
        self.blocks: list[Block] = []
        self.times_s: list[float] = []
        self._refused = refused

    def begin(self, header: FilterbankHeader) -> None:
        self.header = header

    def send(self, block: Block) -> None:
        if block.start in self._refused:
            raise SinkError("player", "has no room", "make some")
        self.blocks.append(block)
        self.times_s.append(time.monotonic())

    def close(self) -> None:
        pass

    def counts(self, nsamples: int) -> NDArray[np.int64]:
        """How often each sample was sent."""
        counts = np.zeros(nsamples, np.int64)
        for block in self.blocks:
            counts[block.start : block.stop] += 1
        return counts


def in_memory(spectra: NDArray[Any] = SAMPLES, cuts: Sequence[int] = ()) -> MemorySource:
    return MemorySource(HEADER, spectra, cuts)


def played(player: Kept, source: Source | None = None, **play: Any) -> Replay:
    """Replay as fast as it goes, with a clock that is none."""
    clock = FakeClock()
    pace = clock.pace(HEADER.tsamp_s, play.get("speed", 0))
    playing = Replay(source or in_memory(), player, Play(**{"speed": 0.0, **play}), pace)
    for _ in playing.run():
        pass
    return playing


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# The pace.


def test_the_pace_does_not_drift() -> None:
    clock = FakeClock()
    pace = clock.pace(64e-6, speed=2.0)
    pace.start()
    for heap in range(1, 100_001):
        late_s = pace.wait(pace.due_s(heap * 256))
        assert late_s is not None
        assert late_s < 2e-5
    assert clock.now_s - pace.t0_s == pytest.approx(100_000 * 256 * 64e-6 / 2, abs=2e-5)


def test_who_is_late_does_not_shift_the_rest() -> None:
    clock = FakeClock()
    pace = clock.pace(1e-3)
    pace.start()
    clock.now_s += 0.5
    assert pace.wait(pace.due_s(100)) == pytest.approx(0.4, abs=1e-4)
    assert pace.wait(pace.due_s(499)) == pytest.approx(0.001, abs=1e-4)
    assert pace.wait(pace.due_s(600)) == pytest.approx(0, abs=2e-5)


def test_lateness_is_told() -> None:
    class Slow(Kept):
        def send(self, block: Block) -> None:
            super().send(block)
            clock.now_s += 0.05 if block.start == 1000 else 0

    clock = FakeClock()
    playing = Replay(in_memory(), Slow(), Play(heap=20), clock.pace(1e-3))
    for _ in playing.run():
        pass
    report = playing.report
    assert report["late_heaps"] == 2
    assert report["lateness_ms"]["worst"] == pytest.approx(30, abs=0.1)
    assert report["lateness_ms"]["median"] < 0.1
    assert report["wall_seconds"] == pytest.approx(5, abs=0.001)


def test_heaps_leave_on_time() -> None:
    player, header = Kept(), replace(HEADER, tsamp_s=1e-3)
    source = MemorySource(header, SAMPLES[:2000])
    playing = Replay(source, player, Play(heap=20))
    for _ in playing.run():
        pass
    t0_s = playing.report["t0_monotonic_s"]
    due_s = [t0_s + block.stop * 1e-3 for block in player.blocks]
    late_s = np.subtract(player.times_s, due_s)
    assert len(late_s) == 100
    assert late_s.min() >= 0
    assert np.median(late_s) < 1e-3
    assert playing.report["lateness_ms"]["median"] < 1


def test_a_wait_can_be_stopped() -> None:
    pace = Pace(1.0, 1.0)
    threading.Timer(0.1, pace.stop).start()
    began_s = time.monotonic()
    assert pace.wait(pace.due_s(3600)) is None
    assert time.monotonic() - began_s < 2


@pytest.mark.parametrize(
    ("tsamp_s", "nchans", "samples"),
    [(1e-3, 64, 16), (64e-6, 1024, 256), (0.5, 64, 1), (1e-6, 64, 16384), (1e-6, 65536, 128)],
)
def test_a_heap_is_some_20_ms(tsamp_s: float, nchans: int, samples: int) -> None:
    header = replace(HEADER, tsamp_s=tsamp_s, nchans=nchans, foff_mhz=-0.01)
    assert heap_samples(header) == samples


@pytest.mark.parametrize("cuts", [(), (1, 2, 3), (100, -30, 7, -20, 500), (-5, 995, 1000)])
def test_heaps_do_not_depend_on_how_blocks_were_cut(cuts: tuple[int, ...]) -> None:
    heaps = list(cut(in_memory(cuts=cuts).blocks(), 16))
    recorded = Kept()
    recorded.blocks = list(in_memory(cuts=cuts).blocks())
    sent = Kept()
    sent.blocks = heaps
    np.testing.assert_array_equal(sent.counts(5000), recorded.counts(5000))
    for heap, following in pairwise(heaps):
        assert heap.stop % 16 == 0 or following.start > heap.stop
        assert heap.start // 16 == (heap.stop - 1) // 16
        np.testing.assert_array_equal(heap.spectra, SAMPLES[heap.start : heap.stop])


# Faults.

FAULTS = "lost=0.1,duplicated=0.1,reordered=0.2,delayed=0.05,stop=0.5@1.2,stop=0.1@3"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_faults_are_known_to_the_sample(tmp_path: Path, seed: int) -> None:
    player, truth = Kept(refused=range(600, 700)), tmp_path / "truth.jsonl"
    source = in_memory(cuts=(2000, -25, 100))
    playing = played(player, source, heap=10, faults=read_faults(FAULTS, seed), truth=truth)
    begin, *said, end = lines(truth)
    assert (begin["kind"], end) == ("begin", {"kind": "end", "stop": 5000})
    expected = np.ones(5000, np.int64)
    for line in said:
        if line["kind"] in MISSING:
            expected[line["start"] : line["stop"]] = 0
        elif line["kind"] == "duplicated":
            expected[line["start"] : line["stop"]] = 2
    np.testing.assert_array_equal(player.counts(5000), expected)
    report = playing.report
    assert report["samples_missing"] == (expected == 0).sum()
    for kind in (*CHANCES, "silent", "dropped"):
        assert report["heaps"][kind] == sum(line["kind"] == kind for line in said) > 0, kind
    assert report["heaps"]["silent"] == 60
    assert {"kind": "gap", "start": 2000, "stop": 2025} in said
    assert not player.counts(5000)[1200:1700].any()
    for block in player.blocks:
        np.testing.assert_array_equal(block.spectra, SAMPLES[block.start : block.stop])


@pytest.mark.parametrize("seed", [1, 2])
def test_the_truth_names_what_left_out_of_turn(tmp_path: Path, seed: int) -> None:
    player, truth = Kept(), tmp_path / "truth.jsonl"
    played(player, heap=10, faults=read_faults("reordered=0.2,delayed=0.02", seed), truth=truth)
    starts = [block.start for block in player.blocks]
    behind = {start for place, start in enumerate(starts) if start < max(starts[: place + 1])}
    said = [line for line in lines(truth) if line["kind"] in ("reordered", "delayed")]
    in_turn = {line["start"] for line in said} - behind
    assert behind <= {line["start"] for line in said}
    assert all(start >= 3900 for start in in_turn)  # those at the end overtake nobody
    for line in said:
        distance = starts.index(line["start"]) - line["start"] // 10
        if line["kind"] == "reordered":
            assert distance <= 1
        else:
            assert distance > 50 or line["start"] >= 3900


def test_the_seed_decides() -> None:
    def sent(seed: int) -> list[int]:
        player = Kept()
        played(player, heap=10, faults=read_faults(FAULTS, seed))
        return [block.start for block in player.blocks]

    assert sent(1) == sent(1)
    assert sent(1) != sent(2)


def test_shares_are_those_asked_for() -> None:
    player = Kept()
    playing = played(player, heap=1, rounds=4, faults=read_faults("lost=0.1,duplicated=0.05", 5))
    assert playing.report["heaps"]["lost"] == pytest.approx(2000, abs=200)
    assert playing.report["heaps"]["duplicated"] == pytest.approx(1000, abs=150)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("eaten=0.1", "'eaten' is unknown"),
        ("lost", "'lost' has no number"),
        ("lost=x", "'lost=x' has no number"),
        ("lost=nan", "'lost=nan' has no number"),
        ("lost=-0.1", "'lost=-0.1' has no number"),
        ("lost=0.6,delayed=0.6", "more than 1"),
        ("stop=5", "'stop=5' has no number"),
        ("stop=5@", "'stop=5@' has no number"),
    ],
)
def test_faults_that_are_none(text: str, cause: str) -> None:
    with pytest.raises(ConfigError, match=cause):
        read_faults(text, 1)


# What is sent.


def test_rounds_go_on_in_one_observation() -> None:
    player = Kept()
    played(player, in_memory(SAMPLES[:1001]), heap=16, rounds=3)
    assert [block.start for block in player.blocks] == list(range(0, 3003, 16))
    joined = np.concatenate([block.spectra for block in player.blocks])
    np.testing.assert_array_equal(joined, np.tile(SAMPLES[:1001], (3, 1)))


def test_only_so_many_seconds() -> None:
    player = Kept()
    playing = played(player, heap=16, rounds=None, seconds=7.003)
    assert playing.nsamples == playing.report["samples"] == 7003
    np.testing.assert_array_equal(player.counts(8000), np.arange(8000) < 7003)


def test_a_player_that_takes_nothing_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SinkError, match="no room"):
        played(Kept(refused=range(5000)), heap=10)
    assert len(caplog.records) == 1


def test_what_no_longer_can_be_read_is_an_error() -> None:
    with pytest.raises(InputError, match="no sample can be read"):
        played(Kept(), in_memory(SAMPLES[:0]), rounds=None)


@pytest.mark.parametrize(
    "play",
    [
        {"speed": -1.0},
        {"speed": np.nan},
        {"speed": np.inf},
        {"seconds": 0.0},
        {"seconds": np.nan},
        {"rounds": 0},
        {"heap": 0},
        {"heap": 1 << 30},
    ],
)
def test_values_that_make_no_sense(play: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="give") as raised:
        played(Kept(), **play)
    assert f"--{next(iter(play))}" in str(raised.value)


def test_signed_samples_are_raised(tmp_path: Path) -> None:
    player = Kept()
    spectra = SAMPLES.view(np.int8)
    played(player, open_source([str(write_fil(tmp_path / "a.fil", spectra, HEADER, signed=True))]))
    sent = np.concatenate([block.spectra for block in player.blocks])
    assert sent.dtype == np.uint8
    np.testing.assert_array_equal(sent.astype(np.int16), spectra.astype(np.int16) + 128)


@pytest.mark.parametrize(("nbits", "sent"), [(1, 16), (8, 16), (16, 32), (32, 32)])
def test_sums_of_two_ifs_get_the_bits_they_need(tmp_path: Path, nbits: int, sent: int) -> None:
    dtype = {1: "u1", 8: "u1", 16: "<u2", 32: "<f4"}[nbits]
    pairs = np.random.default_rng(1).integers(0, 2**nbits, (100, 2, 8)).astype(dtype)
    player, stream = Kept(), replace(HEADER, nbits=nbits)
    played(player, open_source([str(write_fil(tmp_path / "a.fil", pairs, stream))]))
    assert player.header == replace(HEADER, nbits=sent)
    joined = np.concatenate([block.spectra for block in player.blocks])
    np.testing.assert_array_equal(joined, pairs[:, 0].astype("f4") + pairs[:, 1].astype("f4"))


def test_padding_carries_no_signal() -> None:
    class Padded(MemorySource):
        def blocks(self) -> Iterator[Block]:
            for block in super().blocks():
                yield replace(block, valid=np.arange(len(block.spectra)) % 2 == 0)

    for spectra in (SAMPLES, SAMPLES.astype("f4")):
        player = Kept()
        played(player, Padded(HEADER, spectra))
        joined = np.concatenate([block.spectra for block in player.blocks])
        np.testing.assert_array_equal(joined[::2], spectra[::2])
        padding = joined[1::2].astype("f4")
        assert (np.isnan(padding) if spectra.dtype.kind == "f" else padding == 0).all()
    assert SAMPLES[1::2].any()


# The command.


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Iterator[ZmqFeed]:
    # the other end is a program that may take a second to begin
    monkeypatch.setattr("mlppa.sources.zmq.NAP_MS", 20)
    with closing(ZmqFeed("zmq://127.0.0.1:*")) as feed:
        yield feed


def two_files(folder: Path) -> list[Path]:
    return [
        write_fil(folder / "b.fil", SAMPLES[3000:], later(HEADER, 3000)),
        write_fil(folder / "a.fil", SAMPLES[:3000], HEADER),
    ]


def test_files_reach_a_live_input_as_they_are(feed: ZmqFeed, tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    words = [MLPPA, "replay", *two_files(tmp_path), "--to", feed.uri, "--speed", "5", "--json"]
    words += ["--rounds", "2", "--faults", "duplicated=0.1,reordered=0.1", "--truth", truth]
    with subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE) as program:
        ((header, blocks),) = heard(feed)
        report = json.loads(program.communicate()[0])
    assert program.returncode == 0
    assert header == HEADER
    assert blocks[0].start == 0
    assert all(one.stop == other.start for one, other in pairwise(blocks))
    joined = np.concatenate([block.spectra for block in blocks])
    np.testing.assert_array_equal(joined, np.tile(SAMPLES, (2, 1)))
    assert (report["samples"], report["samples_missing"], report["stopped"]) == (10000, 0, False)
    assert report["heaps"]["duplicated"] > 0
    assert 2 <= report["wall_seconds"] < 5
    for block in blocks:  # this machine has one monotonic clock
        assert block.received_s is not None
        latency_s = block.received_s - report["t0_monotonic_s"] - block.stop * 1e-3 / 5
        assert 0 < latency_s < 3
    assert lines(truth)[0]["t0_monotonic_s"] == report["t0_monotonic_s"]


@pytest.mark.parametrize(
    ("number", "faults"),
    [(signal.SIGTERM, "stop=60@0.3"), (signal.SIGINT, "reordered=0.3,delayed=0.1")],
)
def test_a_signal_ends_it_in_good_order(
    feed: ZmqFeed, tmp_path: Path, number: signal.Signals, faults: str
) -> None:
    truth = tmp_path / "truth.jsonl"
    words = [MLPPA, "replay", *two_files(tmp_path), "--to", feed.uri, "--loop", "--json"]
    words += ["--truth", truth, "--faults", faults]
    with subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE) as program:
        blocks = next(feed.observations()).blocks()
        received = [next(blocks)]
        began_s = time.monotonic()
        program.send_signal(number)
        report = json.loads(program.communicate()[0])
    assert time.monotonic() - began_s < 3
    assert program.returncode == 128 + number
    assert report["stopped"]
    received += [block for block in _until_silence(blocks)]
    counts = np.zeros(report["samples"], np.int64)
    for block in received:
        counts[block.start : block.stop] += 1
    for line in lines(truth)[1:-1]:
        if line["kind"] in MISSING:
            counts[line["start"] : line["stop"]] += 1
    assert (counts == 1).all()
    assert lines(truth)[-1] == {"kind": "end", "stop": report["samples"]}


def _until_silence(blocks: Iterator[Block]) -> Iterator[Block]:
    for block in blocks:
        if not len(block.spectra):
            return
        yield block


def test_nobody_is_there(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlppa.players.zmq.PATIENCE_MS", 100)
    with closing(ZmqFeed("zmq://127.0.0.1:*")) as feed:
        uri = feed.uri
    began_s = time.monotonic()
    ended = call("replay", *two_files(tmp_path), "--to", uri, "--speed", "0")
    assert time.monotonic() - began_s < 3
    assert ended.code == 4
    *_, error = ended.err.splitlines()
    assert error.startswith("mlppa: error: tcp://127.0.0.1:")
    assert "start the receiver" in error


def test_a_receiver_that_comes_late_gets_the_rest(
    feed: ZmqFeed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = feed.uri
    feed.close()
    monkeypatch.setattr("mlppa.players.zmq.PATIENCE_MS", 100)
    playing = Replay(in_memory(), player := open_player(uri), Play(heap=20, speed=4.0))
    with closing(player):
        thread = threading.Thread(target=lambda: list(playing.run()))
        thread.start()
        time.sleep(0.3)
        with closing(ZmqFeed(uri)) as late:
            ((header, blocks),) = heard(late)
        thread.join(10)
    report = playing.report
    assert header == HEADER
    assert 0 < report["heaps"]["dropped"] < 250
    assert blocks[-1].stop == 5000
    # heaps before the header is told again say nothing to whoever comes late
    assert sum(len(block.spectra) for block in blocks) <= 20 * report["heaps"]["sent"]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["FILE"], 2, "--to"),
        (["FILE", "--to", "pigeon:1"], 2, "no player for it; give one like zmq://"),
        (["FILE", "--to", "zmq://127.0.0.1"], 2, "not an address"),
        (["FILE", "--to", "DIR", "--faults", "eaten=1"], 2, "'eaten' is unknown; give such as"),
        (["FILE", "--to", "DIR", "--speed", "-1"], 2, "--speed"),
        (["FILE", "--to", "DIR", "--heap", "0"], 2, "--heap"),
        (["FILE", "--to", "DIR", "--heap", "100000000"], 2, "--heap"),
        (["FILE", "--to", "DIR", "--loop", "--rounds", "2"], 2, "give one of them"),
        (["no.fil", "--to", "DIR"], 3, "check the name"),
        (["FILE", "--to", "DIR", "--truth", "no/folder/t"], 4, "choose another file"),
    ],
)
def test_how_it_ends_when_it_cannot_begin(
    call: Call, tmp_path: Path, words: list[str], code: int, told: str
) -> None:
    path = write_fil(tmp_path / "a.fil", SAMPLES[:100], HEADER)
    known = {"FILE": path, "DIR": f"dir://{tmp_path}/out"}
    ended = call("replay", *(known.get(word, word) for word in words))
    assert ended.code == code
    assert told in ended.error


def test_it_prints_what_it_did(call: Call, tmp_path: Path) -> None:
    words = ("replay", *two_files(tmp_path), "--speed", "0")
    ended = call(*words, "--to", f"dir://{tmp_path}/a", "--faults", "lost=0.5")
    assert (ended.code, ended.err) == (0, "")
    assert "5.000 s of data" in ended.out
    assert " lost" in ended.out
    assert call(*words, "--to", f"dir://{tmp_path}/b", "-q").out == ""
    assert (
        json.loads(call(*words, "--to", f"dir://{tmp_path}/c", "--json").out)["late_heaps"] is None
    )
    fast = call("replay", *two_files(tmp_path), "--speed", "50", "--to", f"dir://{tmp_path}/d")
    assert "ms (median)" in fast.out


# Into a folder.


def folder_of(tmp_path: Path, **options: object) -> str:
    query = "&".join(f"{name}={value}" for name, value in options.items())
    return f"dir://{tmp_path}/out?{query}"


@pytest.mark.parametrize("nbits", [1, 2, 4, 8, 16, 32])
@pytest.mark.parametrize("whole", [0, 1])
def test_files_of_a_folder_are_the_observation(tmp_path: Path, nbits: int, whole: int) -> None:
    rng, dtype = np.random.default_rng(2), {16: "<u2", 32: "<f4"}.get(nbits, "u1")
    spectra = rng.integers(0, 1 << min(nbits, 20), (2500, 8)).astype(dtype)
    stream = replace(HEADER, nbits=nbits)
    source = open_source([str(write_fil(tmp_path / "a.fil", spectra, stream))])
    with closing(open_player(folder_of(tmp_path, seconds=0.7, whole=whole))) as player:
        for _ in Replay(source, player, Play(speed=0, heap=16)).run():
            pass
    files = sorted((tmp_path / "out").iterdir())
    assert [read_header(file).nsamples for file in files] == [700, 700, 700, 400]
    back = open_source([str(file) for file in files])
    assert back.header == stream
    joined = np.concatenate([block.spectra for block in back.blocks()])
    np.testing.assert_array_equal(joined, spectra)
    dates = [read_header(file).stream.tstart_mjd for file in files]
    assert dates == sorted(dates)


@pytest.mark.parametrize("whole", [False, True])
def test_a_file_grows_or_appears_whole(tmp_path: Path, whole: bool) -> None:
    folder = tmp_path / "out"
    with closing(open_player(folder_of(tmp_path, seconds=0.1, whole=int(whole)))) as player:
        player.begin(HEADER)
        for start in range(0, 120, 40):
            player.send(Block(start, SAMPLES[start : start + 40]))
            seen = sorted(folder.glob("*.fil"))
            sizes = [read_header(file).nsamples for file in seen]
            if whole:
                assert sizes == ([100] if start == 80 else [])
            else:
                assert sizes == {0: [40], 40: [80], 80: [100, 20]}[start]
    assert [read_header(file).nsamples for file in sorted(folder.glob("*"))] == [100, 20]


def test_a_gap_begins_another_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(open_player(folder_of(tmp_path, seconds=1))) as player:
        player.begin(HEADER)
        for start in (0, 100, 300, 200, 300, 400):
            player.send(Block(start, SAMPLES[start : start + 100]))
    back = open_source([str(file) for file in (tmp_path / "out").iterdir()])
    pieces = list(back.blocks())
    assert [(piece.start, piece.stop) for piece in pieces] == [(0, 200), (300, 500)]
    for piece in pieces:
        np.testing.assert_array_equal(piece.spectra, SAMPLES[piece.start : piece.stop])
    assert len(caplog.records) == 1


def test_no_file_is_written_over(tmp_path: Path) -> None:
    for _ in range(2):
        player = open_player(folder_of(tmp_path))
        player.begin(HEADER)
        with closing(player):
            if _ == 0:
                player.send(Block(0, SAMPLES[:100]))
            else:
                with pytest.raises(SinkError, match="is there already"):
                    player.send(Block(0, SAMPLES[:100]))
    (file,) = (tmp_path / "out").iterdir()
    assert read_header(file).nsamples == 100


def test_a_full_disk_leaves_whole_spectra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with closing(open_player(folder_of(tmp_path))) as player:
        player.begin(HEADER)
        player.send(Block(0, SAMPLES[:100]))
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1500, before[1]))
            with pytest.raises(SinkError, match="make room"):
                player.send(Block(100, SAMPLES[100:200]))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)
        player.send(Block(200, SAMPLES[200:300]))
    back = open_source([str(file) for file in (tmp_path / "out").iterdir()])
    assert [(piece.start, piece.stop) for piece in back.blocks()] == [(0, 100), (200, 300)]


@pytest.mark.parametrize(
    ("uri", "cause"),
    [
        ("dir:", "names no folder"),
        ("dir://?seconds=1", "names no folder"),
        ("dir:///nowhere?seconds=0", "seconds=0"),
        ("dir:///nowhere?seconds=x", "seconds=x"),
        ("dir:///nowhere?colour=1", "unknown option colour"),
    ],
)
def test_folders_that_are_none(uri: str, cause: str) -> None:
    with pytest.raises(ConfigError, match=cause):
        open_player(uri)


# In this process.


def test_a_file_as_a_live_input(tmp_path: Path) -> None:
    write_fil(tmp_path / "a.fil", SAMPLES[:1000], HEADER)
    feed = open_feed([f"replay:{tmp_path}/a.fil?speed=4"])
    began_s = time.monotonic()
    (source,) = list(feed.observations())
    assert (source.live, source.nsamples, source.header) == (True, None, HEADER)
    blocks = list(source.blocks())
    assert 0.25 <= time.monotonic() - began_s < 3
    np.testing.assert_array_equal(np.concatenate([b.spectra for b in blocks]), SAMPLES[:1000])
    for block in blocks:
        assert block.received_s is not None
        assert block.received_s - began_s > block.stop * 1e-3 / 4
        block.spectra[:] = 0
    feed.close()


def test_rounds_are_observations_that_go_on(tmp_path: Path) -> None:
    write_fil(tmp_path / "a.fil", SAMPLES[:1000], HEADER)
    feed = open_feed([f"replay:{tmp_path}/a.fil?speed=20&loop=1"])
    headers, times_s = [], []
    for source in feed.observations():
        blocks = list(source.blocks())
        times_s.append(blocks[-1].received_s or 0.0)
        np.testing.assert_array_equal(np.concatenate([b.spectra for b in blocks]), SAMPLES[:1000])
        headers.append(source.header)
        if len(headers) == 4:
            feed.close()
    days = np.diff([header.tstart_mjd for header in headers])
    np.testing.assert_allclose(days * 86400, 1.0, atol=2e-6)
    assert 0.14 < times_s[-1] - times_s[0] < 3  # the pace goes on, too


def test_a_gap_is_a_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlppa.sources.replay.QUIET_S", 0.1)
    write_fil(tmp_path / "a.fil", SAMPLES[:100], HEADER)
    # files come together as those of one observation only through `open_source`
    write_fil(tmp_path / "b.fil", SAMPLES[:100], later(HEADER, 2000))
    monkeypatch.setattr(
        "mlppa.sources.replay.open_source",
        lambda uris: open_source([*uris, str(tmp_path / "b.fil")]),
    )
    (source,) = open_feed([f"replay:{tmp_path}/a.fil?speed=4"]).observations()
    blocks = list(source.blocks())
    (place,) = [place for place, block in enumerate(blocks) if not len(block.spectra)]
    quiet, before, after = blocks[place], blocks[place - 1], blocks[place + 1]
    assert (quiet.start, before.stop, after.start) == (100, 100, 2000)
    assert quiet.received_s is not None
    assert before.received_s is not None
    assert 0.05 < quiet.received_s - before.received_s < 0.45


def test_a_file_as_a_live_input_ends_when_it_is_closed(tmp_path: Path) -> None:
    write_fil(tmp_path / "a.fil", SAMPLES, HEADER)
    feed = open_feed([f"replay:{tmp_path}/a.fil?loop=1"])
    timer = threading.Timer(0.2, feed.close)
    timer.start()
    began_s = time.monotonic()
    blocks = [block for source in feed.observations() for block in source.blocks()]
    assert time.monotonic() - began_s < 2
    assert 0 < len(blocks) < 100


@pytest.mark.parametrize("query", ["speed=0", "speed=-1", "speed=fast", "speed=nan", "colour=1"])
def test_options_of_a_replay_that_make_no_sense(tmp_path: Path, query: str) -> None:
    write_fil(tmp_path / "a.fil", SAMPLES[:100], HEADER)
    with pytest.raises(ConfigError, match=query if query[0] == "s" else "unknown option colour"):
        open_feed([f"replay:{tmp_path}/a.fil?{query}"])


def test_a_replay_needs_a_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="check the name"):
        open_feed([f"replay:{tmp_path}/no.fil"])
