"""Recorded files played into a live input, at the telescope's pace and with its faults."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np

from .channel import prefetch
from .data import Block
from .errors import ConfigError, InputError, SinkError
from .players import Player
from .players.faults import Departure, Faults, faulty
from .players.samples import travelling, travelling_header
from .sources import Source
from .sources.pace import Pace, cut, heap_samples

logger = logging.getLogger(__name__)

#: What leaves later than this is counted, in seconds.
LATE_S = 1e-3

#: Lateness is kept to within this, in seconds.
FINE_S = 1e-5

#: Blocks that are read before their time.
READ_AHEAD = 2

#: A heap of more is refused: receivers limit what they take.
MOST_BYTES = 1 << 25

#: What becomes of samples that are not sent.
MISSING = ("lost", "silent", "gap", "dropped", "unsent")

#: What is counted of heaps.
FATES = ("sent", "duplicated", "reordered", "delayed", "lost", "silent", "dropped", "unsent")

type Note = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """How to replay.

    Parameters
    ----------
    speed
        How many times faster than the telescope; 0 is as fast as it goes.
    rounds
        How many times; None is for ever.
    heap
        Samples of a heap; None is about 20 ms.
    seconds
        How much of the data, all rounds together; None is all.
    faults
        What goes wrong on the way.
    truth
        A file for what was done: see `Replay`.

    Raises
    ------
    ConfigError
        Where a value makes no sense.
    """

    speed: float = 1.0
    rounds: int | None = 1
    heap: int | None = None
    seconds: float | None = None
    faults: Faults = field(default_factory=Faults)
    truth: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.speed < np.inf:
            raise ConfigError("--speed", f"{self.speed} makes no sense", "give 0 or more")
        if self.seconds is not None and not 0 < self.seconds < np.inf:
            raise ConfigError("--seconds", f"{self.seconds} makes no sense", "give more than 0")
        for name in ("rounds", "heap"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise ConfigError(f"--{name}", f"{number} makes no sense", "give 1 or more")


@dataclass(slots=True)
class Tally:
    """What a replay did so far.

    Parameters
    ----------
    heaps
        Number of heaps by what became of them, and "sent" for each that left, however often.
    missing
        Samples that were not sent, those of gaps included.
    stop
        Index after the last sample that was dealt with.
    late, worst_s
        Heaps that left more than a millisecond too late, and the most that any did.
    """

    heaps: Counter[str] = field(default_factory=Counter)
    missing: int = 0
    stop: int = 0
    late: int = 0
    worst_s: float = 0.0
    _lateness: Counter[int] = field(default_factory=Counter)

    def note(self, departure: Departure, fate: str) -> None:
        """Count a heap."""
        self.stop = max(self.stop, departure.stop)
        if fate:
            self.heaps[fate] += 1
        if fate in MISSING:
            self.missing += departure.stop - departure.start
        else:
            self.heaps["sent"] += 1

    def note_lateness(self, late_s: float) -> None:
        """Count how late a heap left."""
        self._lateness[round(late_s / FINE_S)] += 1
        self.late += late_s > LATE_S
        self.worst_s = max(self.worst_s, late_s)

    def quantile_ms(self, share: float) -> float:
        """Give the lateness that this share of the heaps did not exceed."""
        steps = sorted(self._lateness)
        reached = np.cumsum([self._lateness[step] for step in steps])
        step = steps[int(np.searchsorted(reached, share * reached[-1]))] if steps else 0
        return round(step * FINE_S * 1e3, 3)


class Replay:
    """Files on their way into a live input.

    The truth file has a JSON object a line. The first (``begin``) has the time of sample 0;
    the last (``end``) says where it ended. Between them stands what was not sent, or not
    once and in its turn: its ``kind``, and its samples from ``start`` up to ``stop``.

    Parameters
    ----------
    source
        What was recorded.
    player
        Where it goes. Neither is closed.
    pace
        The clock, if not that of the machine.

    Raises
    ------
    ConfigError
        Where heaps would be too large.
    """

    def __init__(
        self, source: Source, player: Player, play: Play, pace: Pace | None = None
    ) -> None:
        header = source.header
        self._source = source
        self._player = player
        self._play = play
        self._heap = play.heap or heap_samples(header)
        most = MOST_BYTES // (4 * header.nchans)
        if self._heap > max(most, 1):
            cause = f"{self._heap} samples of {header.nchans} channels are too many to send at once"
            raise ConfigError("--heap", cause, f"give {max(most, 1)} samples or fewer")
        self._pace = pace or Pace(header.tsamp_s, play.speed)
        self._stopped = False
        self._trouble: SinkError | None = None
        self._times: dict[str, Any] = {}
        self.tally = Tally()

    @property
    def nsamples(self) -> int | None:
        """Index after the last sample, if there is to be a last one."""
        play, limits = self._play, []
        if play.seconds is not None:
            limits.append(max(1, round(play.seconds / self._source.header.tsamp_s)))
        if play.rounds is not None and self._source.nsamples is not None:
            limits.append(play.rounds * self._source.nsamples)
        return min(limits, default=None)

    def run(self) -> Iterator[Departure]:
        """Send everything; gives each heap when it was dealt with.

        Raises
        ------
        InputError
            Where the data can no longer be read.
        SinkError
            Where the player took nothing at all, or the truth cannot be written.
        """
        play, tsamp_s = self._play, self._source.header.tsamp_s
        recorded = travelling(rounds(self._source, play.rounds))
        blocks = prefetch(recorded, READ_AHEAD, name="replay")
        with closing(blocks), noting(play.truth) as note:
            # What is slow at first, such as imports, comes before sample 0 is due.
            first = next(blocks)
            self._begin(first, note)
            heaps = cut(_until(self.nsamples, chain([first], blocks)), self._heap)
            for departure in faulty(self._unless_stopped(heaps), play.faults, tsamp_s):
                self._leave(departure, note)
                yield departure
            self._times["wall_seconds"] = round(self._pace.clock() - self._pace.t0_s, 6)
            note({"kind": "end", "stop": self.tally.stop})
        if self._trouble is not None and not self.tally.heaps["sent"]:
            raise self._trouble

    def stop(self) -> None:
        """Let `run` end soon, from any thread."""
        self._stopped = True
        self._pace.stop()

    @property
    def report(self) -> dict[str, Any]:
        """What was done, for machines; times of sample 0 are those of this machine."""
        tally, heaps = self.tally, self.tally.heaps
        paced = self._play.speed > 0
        return {
            "heaps": {fate: heaps[fate] for fate in FATES},
            "heap_samples": self._heap,
            "samples": tally.stop,
            "samples_missing": tally.missing,
            "data_seconds": tally.stop * self._source.header.tsamp_s,
            **self._times,
            "late_heaps": tally.late if paced else None,
            "lateness_ms": {
                "median": tally.quantile_ms(0.5),
                "p99": tally.quantile_ms(0.99),
                "worst": round(tally.worst_s * 1e3, 3),
            }
            if paced
            else None,
            "stopped": self._stopped,
        }

    def _begin(self, first: Block, note: Note) -> None:
        self._player.begin(travelling_header(self._source.header, first.spectra))
        self._pace.start()
        self._times = {
            "speed": self._play.speed,
            "t0_monotonic_s": self._pace.t0_s,
            "t0_utc": datetime.now(UTC).isoformat(timespec="microseconds"),
        }
        note({"kind": "begin", "tsamp_s": self._source.header.tsamp_s, **self._times})

    def _unless_stopped(self, heaps: Iterable[Block]) -> Iterator[Block]:
        for heap in heaps:
            if self._stopped:
                return
            yield heap

    def _leave(self, departure: Departure, note: Note) -> None:
        """Send a heap at its time, or do not, and account for it."""
        fate = departure.fault
        if departure.heap is not None:
            fate = self._sent(departure, departure.heap)
        self.tally.note(departure, fate)
        if fate:
            note({"kind": fate, "start": departure.start, "stop": departure.stop})

    def _sent(self, departure: Departure, heap: Block) -> str:
        """Wait and send, once or twice; give what became of it."""
        late_s = self._pace.wait(self._pace.due_s(departure.due))
        if late_s is None:
            return "unsent"
        if self._play.speed:
            self.tally.note_lateness(late_s)
        copies = 2 if departure.fault == "duplicated" else 1
        left = sum(self._taken(heap) for _ in range(copies))
        if not left:
            return "dropped"
        return "" if left < copies else departure.fault

    def _taken(self, heap: Block) -> bool:
        try:
            self._player.send(heap)
        except SinkError as error:
            if self._trouble is None:
                logger.warning("%s; heaps that are not taken are lost", error)
            self._trouble = error
            return False
        return True


def rounds(source: Source, times: int | None) -> Iterator[Block]:
    """Give the blocks of a recording several times, the sample index going on; None: for ever."""
    nsamples = source.nsamples or 0
    for number in count() if times is None else range(times):
        empty = True
        for block in source.blocks():
            empty = False
            yield replace(block, start=block.start + number * nsamples)
        if empty:
            raise InputError("input", "no sample can be read any more", "check the files")


def _until(stop: int | None, blocks: Iterable[Block]) -> Iterator[Block]:
    """Give samples before ``stop``."""
    for block in blocks:
        if stop is None or block.stop < stop:
            yield block
            continue
        if block.start < stop:
            yield replace(block, spectra=block.spectra[: stop - block.start])
        return


@contextmanager
def noting(path: Path | None) -> Iterator[Note]:
    """Write JSON lines to a file, each at once; without a path nowhere.

    Raises
    ------
    SinkError
        Where it cannot be written.
    """
    if path is None:
        yield lambda line: None
        return

    def write(line: dict[str, Any]) -> None:
        try:
            file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise _unwritten(path, error) from error

    try:
        file = path.open("w", buffering=1)
    except OSError as error:
        raise _unwritten(path, error) from error
    with file:
        yield write


def _unwritten(path: Path, error: OSError) -> SinkError:
    cause = f"cannot be written ({error.strerror})"
    return SinkError(path, cause, "make room, or choose another file")
