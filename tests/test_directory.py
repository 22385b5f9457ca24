"""A folder that fills: real files, written step by step while the feed reads."""

import itertools
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mlppa.data import Block, FilterbankHeader
from mlppa.errors import ConfigError, InputError
from mlppa.formats.sigproc import ShortHeaderError, SigprocHeader, pack_header, read_header
from mlppa.gulps import gulps
from mlppa.sources import Feed, directory, open_feed
from mlppa.sources import folder as folder_room
from mlppa.sources import watch as watching
from mlppa.sources.directory import DirectoryFeed, open_directory

from .conftest import MetricDelta
from .skies import HEADER, SKY, recorded
from .test_psrfits import Recording
from .test_psrfits import write as write_fits
from .test_sources import NCHANS, SPECTRA, STREAM, later, write_fil

SETTLE_S = 0.2
PATIENCE_S = 10.0
HEAD = pack_header(STREAM)


def eventually(condition: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be so"
        time.sleep(0.01)


class Reader:
    """Reads a feed in a thread, as the pipeline does."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.headers: list[FilterbankHeader] = []
        self.blocks: list[list[Block]] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        for source in self.feed.observations():
            assert not source.live
            assert source.nsamples is None
            self.blocks.append([])
            self.headers.append(source.header)
            for block in source.blocks():
                self.blocks[-1].append(block)

    def filled(self, number: int = 0) -> list[Block]:
        """Blocks of an observation that hold samples."""
        if number >= len(self.blocks):
            return []
        return [block for block in list(self.blocks[number]) if len(block.spectra)]

    def count(self, number: int = 0) -> int:
        return sum(len(block.spectra) for block in self.filled(number))

    def spectra(self, number: int = 0) -> NDArray[Any]:
        return np.concatenate([block.spectra for block in self.filled(number)])

    def indices(self, number: int = 0) -> NDArray[np.int64]:
        """Sample index of every spectrum."""
        return np.concatenate([np.arange(b.start, b.stop) for b in self.filled(number)])

    def wait(self, samples: int, number: int = 0) -> None:
        eventually(lambda: self.count(number) >= samples)

    def close(self) -> float:
        """Close the feed; gives the seconds it took to end."""
        began = time.monotonic()
        self.feed.close()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        return time.monotonic() - began


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "POLL_EVERY_S", 0.2)
    monkeypatch.setattr(folder_room, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(directory, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(directory, "GRACE_S", 0.12)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "incoming"
    path.mkdir()
    return path


type Open = Callable[..., Reader]


@pytest.fixture
def reading(folder: Path) -> Iterator[Open]:
    readers = []

    def begin(
        options: str = "", prepare: Callable[[DirectoryFeed], None] = lambda _: None
    ) -> Reader:
        feed = open_directory([f"dir://{folder}?settle={SETTLE_S}&{options}"])
        prepare(feed)
        readers.append(Reader(feed))
        return readers[-1]

    yield begin
    for reader in readers:
        reader.close()


def move_in(
    folder: Path, name: str, spectra: NDArray[Any], stream: FilterbankHeader = STREAM
) -> Path:
    """Write a file elsewhere and move it in, as a whole."""
    path = write_fil(folder.parent / f"{name}.making", spectra, stream)
    return path.rename(folder / name)


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def fates(metric_delta: type[MetricDelta]) -> Callable[[], dict[str, float]]:
    """How many files had each fate since now."""
    names = ("read", "refused", "unfinished", "repeated")
    grown = {fate: metric_delta("mlppa_files_total", fate=fate) for fate in names}
    return lambda: {fate: count() for fate, count in grown.items() if count()}


def assert_read(reader: Reader, spectra: NDArray[Any], first: int = 0, number: int = 0) -> None:
    """All of it came, in order, once, without a gap."""
    reader.wait(len(spectra), number)
    np.testing.assert_array_equal(reader.spectra(number), spectra)
    np.testing.assert_array_equal(reader.indices(number), np.arange(first, first + len(spectra)))


@pytest.mark.parametrize("options", ["", "poll=1"])
def test_files_that_are_moved_in_are_joined(
    folder: Path, reading: Open, metric_delta: type[MetricDelta], options: str
) -> None:
    counted = fates(metric_delta)
    before = time.monotonic()
    reader = reading(options)
    for name, (start, stop) in {"b.fil": (0, 20), "c.fil": (20, 21), "a.fil": (21, 48)}.items():
        move_in(folder, name, SPECTRA[start:stop], later(STREAM, start))
        reader.wait(stop)
    assert_read(reader, SPECTRA)
    assert reader.headers == [replace(STREAM, telescope="Fake")]
    assert counted() == {"read": 2}  # the last one may still grow
    times = [block.received_s for block in reader.filled()]
    assert all(t is not None and before < t < time.monotonic() for t in times)
    assert times == sorted(times, key=lambda t: t or 0)


def test_a_uri_is_all_it_takes(folder: Path) -> None:
    write_fil(folder / "a.fil", SPECTRA)
    source = next(open_feed([f"dir://{folder}"]).observations())
    np.testing.assert_array_equal(next(iter(source.blocks())).spectra, SPECTRA)


def test_what_is_there_comes_by_date_and_not_by_name(
    folder: Path, reading: Open, metric_delta: type[MetricDelta]
) -> None:
    read = metric_delta("mlppa_files_total", fate="read")
    for number in range(48):
        name = f"{(number * 7) % 48:02}.fil"
        write_fil(folder / name, SPECTRA[number : number + 1], later(STREAM, number))
    reader = reading()
    assert_read(reader, SPECTRA)
    eventually(lambda: read() == 48)
    assert len(reader.headers) == 1


@pytest.mark.parametrize("options", ["", "poll=1"])
def test_a_file_is_followed_while_it_grows(
    folder: Path, reading: Open, options: str, caplog: pytest.LogCaptureFixture
) -> None:
    reader = reading(options)
    path = folder / "a.fil"
    raw = HEAD + SPECTRA.tobytes()
    cuts = [0, 10, 100, len(HEAD), len(HEAD) + 5, len(HEAD) + 20 * NCHANS + 1, len(raw)]
    for start, stop in itertools.pairwise(cuts):
        append(path, raw[start:stop])
        reader.wait(max(0, stop - len(HEAD)) // NCHANS)
    assert_read(reader, SPECTRA)
    assert not caplog.records


def test_quiet_is_told_once_each_time(
    folder: Path, reading: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "QUIET_S", 0.4)
    reader = reading()
    path = move_in(folder, "a.fil", SPECTRA[:20])
    eventually(lambda: len(reader.blocks) and len(reader.blocks[0]) == 2)
    time.sleep(0.6)
    append(path, SPECTRA[20:].tobytes())  # long after it settled
    eventually(lambda: len(reader.blocks[0]) == 4)
    lengths = [len(block.spectra) for block in reader.blocks[0]]
    assert lengths == [20, 0, 28, 0]
    assert [block.start for block in reader.blocks[0]] == [0, 20, 20, 48]
    assert_read(reader, SPECTRA)
    # a folder is not live: what comes later is not too late
    (gulp,) = gulps((block for block in reader.blocks[0] if len(block.spectra)), 64)
    assert gulp.missing == 0


@pytest.mark.parametrize(("offset", "gap"), [(20.4, 0), (27, 7), (5_000, 4_980)])
def test_dates_tell_of_gaps(folder: Path, reading: Open, offset: float, gap: int) -> None:
    move_in(folder, "a.fil", SPECTRA[:20])
    move_in(folder, "b.fil", SPECTRA[20:], later(STREAM, offset))
    reader = reading("gap=10")
    reader.wait(48)
    assert [block.start for block in reader.filled()] == [0, 20 + gap]
    np.testing.assert_array_equal(reader.spectra(), SPECTRA)


@pytest.mark.parametrize(
    "stream",
    [
        replace(later(STREAM, 48), fch1_mhz=1400.0),
        replace(later(STREAM, 48), tsamp_s=2e-3),
        later(STREAM, 48 + 10_001),
        later(STREAM, 20),
        later(STREAM, -10_000),
    ],
    ids=["band", "tsamp", "long gap", "overlap", "earlier"],
)
def test_what_does_not_continue_begins_another_observation(
    folder: Path, reading: Open, stream: FilterbankHeader
) -> None:
    reader = reading("gap=10")
    move_in(folder, "a.fil", SPECTRA)
    reader.wait(48)
    move_in(folder, "b.fil", SPECTRA[:30], stream)
    assert_read(reader, SPECTRA[:30], number=1)
    assert_read(reader, SPECTRA)
    assert reader.headers[1] == replace(stream, telescope="Fake")


def test_a_later_file_ends_one_that_may_still_grow(folder: Path, reading: Open) -> None:
    reader = reading("settle=1000")
    write_fil(folder / "a.fil", SPECTRA[:20])
    reader.wait(20)
    write_fil(folder / "b.fil", SPECTRA[20:], later(STREAM, 20))
    assert_read(reader, SPECTRA)


def test_the_end_of_a_file_may_come_after_the_beginning_of_the_next(
    folder: Path, reading: Open
) -> None:
    reader = reading("settle=1000")
    path = write_fil(folder / "a.fil", SPECTRA[:10])
    reader.wait(10)
    time.sleep(0.2)
    write_fil(folder / "b.fil", SPECTRA[20:], later(STREAM, 20))
    time.sleep(0.05)
    append(path, SPECTRA[10:20].tobytes())
    assert_read(reader, SPECTRA)


def test_files_that_come_fast_do_not_hold_each_other_up(folder: Path, reading: Open) -> None:
    reader = reading("settle=1000")
    for number in range(24):
        path = folder / f"{number:02}.fil"
        move_in(folder, path.name, SPECTRA[2 * number :][:2], later(STREAM, 2 * number))
        time.sleep(0.03)
        if number == 20:
            assert reader.count() > 10
    assert_read(reader, SPECTRA)


def test_an_earlier_file_waits_until_the_other_is_finished(folder: Path, reading: Open) -> None:
    reader = reading()
    path = write_fil(folder / "a.fil", SPECTRA[:20])
    reader.wait(20)
    move_in(folder, "b.fil", SPECTRA[:9], later(STREAM, -1000))
    for start in range(20, 48):
        append(path, SPECTRA[start : start + 1].tobytes())
        time.sleep(SETTLE_S / 10)
    assert_read(reader, SPECTRA[:9], number=1)
    assert_read(reader, SPECTRA)


BAD = [
    (b"just text\n" * 30, "refused", "HEADER_START is missing"),
    (b"just text\n" * 30_000, "refused", "HEADER_START is missing"),
    (b"\x1f\x8b\x08", "refused", "gzip"),
    (HEAD.replace(b"nbits\x08", b"nbits\x07") + bytes(64), "refused", "nbits = 7"),
    (b"SIMPLE  = what is this", "refused", "breaks off"),
    (b"", "unfinished", "is empty"),
    (HEAD[:7], "unfinished", "breaks off at byte 7"),
    (HEAD[:100], "unfinished", "breaks off at byte 100"),
    (HEAD, "unfinished", "holds no whole spectrum"),
    (HEAD + bytes(NCHANS - 1), "unfinished", "holds no whole spectrum"),
]


def test_what_cannot_be_read_is_told_once_and_left(
    folder: Path, reading: Open, caplog: pytest.LogCaptureFixture, metric_delta: type[MetricDelta]
) -> None:
    counted = fates(metric_delta)
    for number, (content, _, _) in enumerate(BAD):
        (folder / f"bad{number}.fil").write_bytes(content)
    reader = reading("poll=1")
    eventually(lambda: counted() == {"refused": 5, "unfinished": 5})
    move_in(folder, "good.fil", SPECTRA)
    assert_read(reader, SPECTRA)
    for number in range(len(BAD)):
        os.utime(folder / f"bad{number}.fil", (1, 1))
    time.sleep(0.4)  # they are looked at once more
    eventually(lambda: counted() == {"refused": 5, "unfinished": 5, "read": 1})
    told = sorted(record.getMessage() for record in caplog.records)
    assert len(told) == len(BAD)
    for number, (line, (_, _, cause)) in enumerate(zip(told, BAD, strict=True)):
        assert f"bad{number}.fil" in line
        assert cause in line
    assert len(reader.headers) == 1


def test_an_unfinished_file_may_be_finished_later(
    folder: Path, reading: Open, metric_delta: type[MetricDelta]
) -> None:
    counted = fates(metric_delta)
    path = folder / "a.fil"
    path.write_bytes(HEAD[:50])
    reader = reading()
    eventually(lambda: counted() == {"unfinished": 1})
    append(path, HEAD[50:] + SPECTRA.tobytes())
    assert_read(reader, SPECTRA)
    eventually(lambda: counted() == {"unfinished": 1, "read": 1})


def test_other_things_in_the_folder_are_left_alone(
    folder: Path, reading: Open, caplog: pytest.LogCaptureFixture, metric_delta: type[MetricDelta]
) -> None:
    counted = fates(metric_delta)
    for name in (".a.fil", "b.fil.part", "b.fil.tmp", "notes.txt", "a.FIL"):
        write_fil(folder / name, SPECTRA, later(STREAM, -1000))
    (folder / "folder.fil").mkdir()
    write_fil(folder / "folder.fil" / "a.fil", SPECTRA)
    os.mkfifo(folder / "pipe.fil")
    reader = reading("poll=1")
    eventually(lambda: counted() == {"refused": 1})
    assert "pipe.fil: is not a regular file" in caplog.text
    time.sleep(2 * SETTLE_S)
    assert reader.headers == []
    write_fil(folder / "folder.fil" / "b.fil", SPECTRA)
    (folder / "b.fil.part").rename(folder / "b.fil")
    assert_read(reader, SPECTRA)
    assert len(caplog.records) == 1


def test_patterns_choose(folder: Path, reading: Open) -> None:
    reader = reading("pattern=beam3_*.fil,*.dat")
    move_in(folder, "beam2_a.fil", SPECTRA[:5])
    move_in(folder, "beam3_a.fil", SPECTRA[:20])
    move_in(folder, "x.dat", SPECTRA[20:], later(STREAM, 20))
    assert_read(reader, SPECTRA)


def test_psrfits_is_read_when_it_is_whole(
    folder: Path, reading: Open, caplog: pytest.LogCaptureFixture
) -> None:
    made = write_fits(folder.parent / "a.sf", Recording(SPECTRA[:, None])).read_bytes()
    reader = reading("pattern=*.sf")
    half = len(made) * 2 // 3
    append(folder / "a.sf", made[:half])
    time.sleep(SETTLE_S / 2)
    append(folder / "a.sf", made[half:])
    assert_read(reader, SPECTRA)
    parts = Recording(SPECTRA[:, None], primary={"STT_OFFS": 0.548})
    write_fits(folder.parent / "b.sf", parts).rename(folder / "b.sf")
    assert_read(reader, np.concatenate([SPECTRA, SPECTRA]))
    assert not caplog.records


@pytest.mark.parametrize("keep", [0, 50, 10 * NCHANS + 5])
def test_a_file_that_is_cut_short_keeps_what_was_read(
    folder: Path,
    reading: Open,
    caplog: pytest.LogCaptureFixture,
    metric_delta: type[MetricDelta],
    keep: int,
) -> None:
    counted = fates(metric_delta)
    reader = reading("settle=2")
    path = write_fil(folder / "a.fil", SPECTRA[:20])
    reader.wait(20)
    with path.open("r+b") as file:
        file.truncate(keep + (len(HEAD) if keep > 50 else 0))
    eventually(lambda: counted() == {"unfinished": 1})
    move_in(folder, "b.fil", SPECTRA[30:], later(STREAM, 30))
    reader.wait(38)
    np.testing.assert_array_equal(reader.spectra(), np.delete(SPECTRA, slice(20, 30), axis=0))
    assert [block.start for block in reader.filled()] == [0, 30]
    (record,) = caplog.records
    assert "cut short while it was read" in record.getMessage()


def test_a_deleted_file_is_read_as_far_as_it_was_there(
    folder: Path,
    reading: Open,
    caplog: pytest.LogCaptureFixture,
    metric_delta: type[MetricDelta],
) -> None:
    counted = fates(metric_delta)
    reader = reading("settle=5")
    path = write_fil(folder / "a.fil", SPECTRA[:20])
    reader.wait(20)
    path.unlink()
    eventually(lambda: counted() == {"unfinished": 1})
    move_in(folder, "b.fil", SPECTRA[30:], later(STREAM, 30))
    reader.wait(38)
    assert [block.start for block in reader.filled()] == [0, 30]
    (record,) = caplog.records
    assert "a.fil: was deleted" in record.getMessage()


def test_finished_files_may_be_cleared_away(
    folder: Path,
    reading: Open,
    caplog: pytest.LogCaptureFixture,
    metric_delta: type[MetricDelta],
) -> None:
    counted = fates(metric_delta)
    reader = reading()
    for number, start in enumerate(range(0, 48, 16), 1):
        path = move_in(folder, "now.fil", SPECTRA[start : start + 16], later(STREAM, start))
        eventually(lambda number=number: counted() == {"read": number})  # type: ignore[misc]
        path.unlink()
    assert_read(reader, SPECTRA)
    assert not caplog.records


@pytest.mark.parametrize("poll", [0, 1])
def test_a_file_in_wait_may_be_deleted(
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    metric_delta: type[MetricDelta],
    poll: int,
) -> None:
    counted = fates(metric_delta)
    parts = [(0, 20), (20, 30), (30, 48)]
    for number, (start, stop) in enumerate(parts):
        write_fil(folder / f"{number}.fil", SPECTRA[start:stop], later(STREAM, start))
    feed = open_directory([f"dir:{folder}?settle={SETTLE_S}&poll={poll}"])
    source = next(feed.observations())
    blocks = source.blocks()
    got = [next(blocks)]
    (folder / "1.fil").unlink()
    time.sleep(0.3)  # for the notice
    got += [next(blocks)]
    assert [(block.start, block.stop) for block in got] == [(0, 20), (30, 48)]
    assert counted() == {"read": 1, "unfinished": 1}
    assert "1.fil: was deleted or renamed before it was read" in caplog.text


def test_the_same_file_is_read_once(
    folder: Path,
    reading: Open,
    caplog: pytest.LogCaptureFixture,
    metric_delta: type[MetricDelta],
) -> None:
    counted = fates(metric_delta)
    reader = reading()
    move_in(folder, "a.fil", SPECTRA[:20])
    eventually(lambda: counted() == {"read": 1})
    move_in(folder, "b.fil", SPECTRA[:20])
    eventually(lambda: counted() == {"read": 1, "repeated": 1})
    raw = (folder / "a.fil").read_bytes()
    for start in range(0, len(raw), 100):  # a copy, slowly
        append(folder / "c.fil", raw[start : start + 100])
        time.sleep(0.15)
    eventually(lambda: counted() == {"read": 1, "repeated": 2})
    os.utime(folder / "a.fil", (1, 1))
    (folder / "b.fil").rename(folder / "d.fil")
    eventually(lambda: counted() == {"read": 1, "repeated": 3})
    move_in(folder, "e.fil", SPECTRA[20:], later(STREAM, 20))
    assert_read(reader, SPECTRA)
    assert len(caplog.records) == 3
    assert len(reader.headers) == 1


def test_files_without_a_date_are_never_repeated(folder: Path, reading: Open) -> None:
    for name in ("a.fil", "b.fil"):
        write_fil(folder / name, SPECTRA, replace(STREAM, tstart_mjd=0.0))
    reader = reading()
    assert_read(reader, SPECTRA, number=1)
    assert_read(reader, SPECTRA)


@pytest.mark.parametrize("how", ["moved over", "written over"])
def test_a_name_may_come_back_with_other_content(folder: Path, reading: Open, how: str) -> None:
    reader = reading()
    path = write_fil(folder / "a.fil", SPECTRA[:20])
    reader.wait(20)
    if how == "moved over":
        move_in(folder, "a.fil", SPECTRA[20:], later(STREAM, 20))
    else:
        time.sleep(2 * SETTLE_S)
        write_fil(path, SPECTRA[20:], later(STREAM, 20))
    assert_read(reader, SPECTRA)


def test_a_renamed_file_is_followed(folder: Path, reading: Open) -> None:
    reader = reading()
    path = write_fil(folder / "a.fil", SPECTRA[:20])
    reader.wait(20)
    path = path.rename(folder / "b.fil")
    append(path, SPECTRA[20:30].tobytes())
    reader.wait(30)
    time.sleep(2 * SETTLE_S)
    append(path, SPECTRA[30:].tobytes())
    assert_read(reader, SPECTRA)


def test_of_a_file_that_grows_too_late_only_what_is_new_is_read(
    folder: Path, reading: Open, metric_delta: type[MetricDelta]
) -> None:
    counted = fates(metric_delta)
    reader = reading()
    path = write_fil(folder / "a.fil", SPECTRA[:20])
    reader.wait(20)
    path = path.rename(folder / "b.fil")
    eventually(lambda: counted() == {"read": 1})
    move_in(folder, "c.fil", SPECTRA[30:], later(STREAM, 30))
    eventually(lambda: counted() == {"read": 2})
    append(path, SPECTRA[20:30].tobytes())
    assert_read(reader, SPECTRA[20:30], first=20, number=1)
    assert reader.headers[0] == reader.headers[1]
    assert reader.count() == 38


@pytest.mark.parametrize("options", ["", "poll=1"])
def test_the_folder_may_go_away_and_come_back(
    folder: Path,
    reading: Open,
    caplog: pytest.LogCaptureFixture,
    metric_delta: type[MetricDelta],
    options: str,
) -> None:
    counted = fates(metric_delta)
    reader = reading(options)
    move_in(folder, "a.fil", SPECTRA[:20])
    eventually(lambda: counted() == {"read": 1})
    kept = folder.rename(folder.parent / "elsewhere")
    eventually(lambda: "waiting for it" in caplog.text)
    kept.rename(folder)
    eventually(lambda: "is there again" in caplog.text)
    move_in(folder, "b.fil", SPECTRA[20:30], later(STREAM, 20))
    eventually(lambda: counted() == {"read": 2})
    shutil.rmtree(folder)
    eventually(lambda: caplog.text.count("waiting for it") == 2)
    folder.mkdir()
    write_fil(folder / "c.fil", SPECTRA[30:], later(STREAM, 30))
    assert_read(reader, SPECTRA)
    assert len(caplog.records) == 4


def test_without_notices_it_looks_by_itself(
    folder: Path,
    reading: Open,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_watch(*_: object, **__: object) -> Iterator[set[Any]]:
        raise OSError(28, "OS file watch limit reached")
        yield set()

    monkeypatch.setattr(watching, "watch", no_watch)
    reader = reading()
    move_in(folder, "a.fil", SPECTRA)
    assert_read(reader, SPECTRA)
    assert "limit reached" in caplog.text
    assert len(caplog.records) == 1


def test_a_lost_notice_is_made_up_for(
    folder: Path, reading: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deaf(*_: object, **__: object) -> Iterator[set[Any]]:
        while True:
            yield set()

    monkeypatch.setattr(watching, "watch", deaf)
    monkeypatch.setattr(watching, "SCAN_EVERY_S", 0.2)
    reader = reading()
    time.sleep(0.2)
    move_in(folder, "a.fil", SPECTRA)
    assert_read(reader, SPECTRA)


def test_from_now_leaves_out_what_is_there(folder: Path, reading: Open) -> None:
    write_fil(folder / "old.fil", SPECTRA, later(STREAM, -1000))
    growing = write_fil(folder / "growing.fil", SPECTRA[:20])
    another = write_fil(folder / "another.fil", SPECTRA[28:35], later(STREAM, 28))
    reader = reading("from=now")
    time.sleep(0.3)
    append(growing, SPECTRA[20:28].tobytes())
    reader.wait(8)
    append(another, SPECTRA[35:40].tobytes())
    reader.wait(13)
    move_in(folder, "new.fil", SPECTRA[40:], later(STREAM, 40))
    reader.wait(21)
    expected = np.delete(np.arange(48), slice(28, 35))[20:]
    np.testing.assert_array_equal(reader.indices(), expected)
    np.testing.assert_array_equal(reader.spectra(), SPECTRA[expected])


@pytest.mark.parametrize("how", ["option", "method"])
def test_it_goes_on_after_a_date(
    folder: Path, reading: Open, how: str, metric_delta: type[MetricDelta]
) -> None:
    counted = fates(metric_delta)
    for number, start in enumerate(range(0, 48, 12)):
        write_fil(folder / f"{number}.fil", SPECTRA[start : start + 12], later(STREAM, start))
    mjd = later(STREAM, 29).tstart_mjd
    if how == "option":
        reader = reading(f"after={mjd!r}")
    else:
        reader = reading(prepare=lambda feed: feed.go_on_after(mjd))
    reader.wait(48 - 29)
    np.testing.assert_array_equal(reader.spectra(), SPECTRA[29:])
    assert reader.headers == [replace(later(STREAM, 24), telescope="Fake")]
    assert reader.filled()[0].start == 5
    eventually(lambda: counted() == {"read": 2})


def test_known_names_are_not_opened_again(
    folder: Path, reading: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []

    def note(path: Path, *, growing: bool) -> SigprocHeader:
        opened.append(path)
        return read_header(path, growing=growing)

    monkeypatch.setattr("mlppa.sources.sigproc.read_header", note)
    for number in range(48):
        write_fil(folder / f"{number}.fil", SPECTRA[number : number + 1], later(STREAM, number))
    (folder / "bad.fil").write_bytes(b"no header")
    reader = reading("poll=1")
    assert_read(reader, SPECTRA)
    time.sleep(0.5)
    assert len(opened) == 49


def test_an_observation_that_nobody_wants_is_left(
    folder: Path, metric_delta: type[MetricDelta]
) -> None:
    counted = fates(metric_delta)
    write_fil(folder / "a.fil", SPECTRA[:20])
    write_fil(folder / "b.fil", SPECTRA, replace(later(STREAM, 20), fch1_mhz=1400.0))
    feed = open_directory([f"dir:{folder}"])
    observations = feed.observations()
    next(observations)
    second = next(observations)
    assert second.header.fch1_mhz == 1400.0
    np.testing.assert_array_equal(next(second.blocks()).spectra, SPECTRA)
    assert counted() == {"unfinished": 1}
    feed.close()
    assert next(observations, None) is None


@pytest.mark.parametrize("when", ["nothing came", "a file grows", "between files"])
def test_close_ends_the_wait(folder: Path, reading: Open, when: str) -> None:
    reader = reading("settle=1000" if when == "a file grows" else "")
    if when != "nothing came":
        write_fil(folder / "a.fil", SPECTRA)
        reader.wait(48)
    time.sleep(0.2 if when != "between files" else 2 * SETTLE_S)
    assert reader.close() < 1


def test_blocks_are_of_about_a_second(folder: Path, reading: Open) -> None:
    samples = np.random.default_rng(1).integers(0, 256, (9000, NCHANS), dtype=np.uint8)
    write_fil(folder / "a.fil", samples)
    reader = reading()
    assert_read(reader, samples)
    assert {len(block.spectra) for block in reader.filled()[:-1]} == {1024}


@pytest.mark.parametrize(
    ("uri", "error", "cause"),
    [
        ("dir:///nowhere/at/all", InputError, "there is no such folder; make it"),
        ("dir:///dev/null", InputError, "is not a folder"),
        ("dir://host/data", ConfigError, "names a host"),
        ("dir:", ConfigError, "names no folder"),
        ("dir:///tmp?speed=1", ConfigError, "unknown option speed"),
        ("dir:///tmp?settle=soon", ConfigError, "settle=soon is no number"),
        ("dir:///tmp?settle=nan", ConfigError, "settle=nan is no number"),
        ("dir:///tmp?gap=-1", ConfigError, "gap=-1 is no number"),
        ("dir:///tmp?after=inf", ConfigError, "after=inf is no number"),
        ("dir:///tmp?from=end", ConfigError, "from=end"),
    ],
)
def test_uris_that_say_what_they_cannot_are_refused(
    uri: str, error: type[Exception], cause: str
) -> None:
    with pytest.raises(error, match=cause):
        open_directory([uri])


def test_a_header_that_breaks_off_anywhere_may_still_come(tmp_path: Path) -> None:
    path = tmp_path / "a.fil"
    for nbytes in range(len(HEAD)):
        path.write_bytes(HEAD[:nbytes])
        with pytest.raises(ShortHeaderError):
            read_header(path, growing=True)


WHOLE = recorded(SKY).spectra[:600]


@settings(max_examples=10, deadline=None)
@given(
    cuts=st.lists(st.integers(1, len(WHOLE) - 1), max_size=2, unique=True),
    writes=st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=6),
    hidden=st.booleans(),
)
def test_any_cut_gives_the_same_samples(
    tmp_path_factory: pytest.TempPathFactory,
    cuts: list[int],
    writes: list[tuple[float, bool]],
    hidden: bool,
) -> None:
    """A sky cut into files, and those into writes with or without a rest, anywhere."""
    folder = tmp_path_factory.mktemp("incoming")
    reader = Reader(open_directory([f"dir://{folder}?settle=2"]))
    try:
        for number, (start, stop) in enumerate(itertools.pairwise([0, *sorted(cuts), len(WHOLE)])):
            raw = pack_header(later(HEADER, start)) + WHOLE[start:stop].tobytes()
            path = folder / (f".{number}" if hidden else f"{9 - number}.fil")
            at = 0
            for share, rest in [*sorted(writes), (1.0, False)]:
                end = round(share * len(raw))
                append(path, raw[at:end])
                at = end
                time.sleep(0.05 if rest else 0)
            path.rename(folder / f"{9 - number}.fil")
        assert_read(reader, WHOLE)
        assert len(reader.headers) == 1
    finally:
        reader.close()
