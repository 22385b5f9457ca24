"""What goes wrong between a telescope and its receiver, as a plain iterator over heaps."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ..data import Block
from ..errors import ConfigError

#: How late a delayed heap leaves, in seconds of the data.
DELAY_S = 1.0

#: What may happen to a heap by chance.
CHANCES = ("lost", "duplicated", "reordered", "delayed")

_EXAMPLE = "give such as lost=0.01,duplicated=0.01,reordered=0.01,delayed=0.001,stop=5@60"


@dataclass(frozen=True, slots=True)
class Faults:
    """How often something happens to a heap, and when nothing is sent.

    Parameters
    ----------
    chances
        By the names of `CHANCES`, the share of heaps that are not sent; are sent twice; leave
        behind the next one; leave a second late. One heap suffers one of them at most.
    stops
        When nothing is sent: (length, beginning), both in seconds of the data.
    seed
        The same seed gives the same faults.
    """

    chances: tuple[tuple[str, float], ...] = ()
    stops: tuple[tuple[float, float], ...] = ()
    seed: int = 1

    def draw(self, number: float) -> str:
        """Give the fault that a random number from 0 to 1 stands for."""
        for name, share in self.chances:
            if number < share:
                return name
            number -= share
        return ""

    def is_silent(self, time_s: float) -> bool:
        """Whether a heap that begins then is not sent."""
        return any(begin <= time_s < begin + length for length, begin in self.stops)


@dataclass(frozen=True, slots=True, eq=False)
class Departure:
    """Samples [start, stop) and what is to be done with them.

    Parameters
    ----------
    due
        Index of the sample that begins when the heap leaves.
    fault
        One of `CHANCES`, "silent", "gap" (never recorded), or nothing.
    heap
        None where there is nothing to send.
    """

    start: int
    stop: int
    due: int
    fault: str = ""
    heap: Block | None = None


def read_faults(text: str, seed: int) -> Faults:
    """Read ``lost=SHARE,duplicated=SHARE,reordered=SHARE,delayed=SHARE,stop=SECONDS@SECOND``.

    Raises
    ------
    ConfigError
        Where a name is unknown, a value is none, or shares add up to more than 1.
    """
    chances: dict[str, float] = {}
    stops = []
    for word in filter(None, text.split(",")):
        name, _, value = word.partition("=")
        if name == "stop":
            length, _, begin = value.partition("@")
            stops.append((_number(word, length), _number(word, begin)))
        elif name in CHANCES:
            chances[name] = _number(word, value)
        else:
            raise ConfigError("--faults", f"{name!r} is unknown", _EXAMPLE)
    if sum(chances.values()) > 1:
        raise ConfigError("--faults", "the shares add up to more than 1", "give smaller ones")
    return Faults(tuple(chances.items()), tuple(stops), seed)


def faulty(heaps: Iterable[Block], faults: Faults, tsamp_s: float) -> Iterator[Departure]:
    """Decide what happens to each heap; every sample from 0 on is in one departure.

    Parameters
    ----------
    heaps
        In order.
    tsamp_s
        Sampling time.
    """
    rng = np.random.default_rng(faults.seed)
    delay = round(DELAY_S / tsamp_s)
    behind: Block | None = None
    late: deque[Block] = deque()
    reached = newest = 0
    for heap in heaps:
        if heap.start > reached:
            yield Departure(reached, heap.start, heap.start, "gap")
        reached = heap.stop
        fault = faults.draw(rng.random())
        if faults.is_silent(heap.start * tsamp_s):
            fault = "silent"
        elif fault == "reordered" and behind is None:
            behind = heap
            continue
        if fault == "delayed":
            late.append(heap)
        elif fault in ("lost", "silent"):
            yield Departure(heap.start, heap.stop, reached, fault)
        else:
            fault = "" if fault == "reordered" else fault
            newest = heap.stop
            yield Departure(heap.start, heap.stop, reached, fault, heap)
        if behind is not None:
            yield _held(behind, reached, "reordered" if newest > behind.start else "")
            newest, behind = max(newest, behind.stop), None
        while late and late[0].stop + delay <= reached:
            yield _held(late.popleft(), reached, "delayed")
    for heap in filter(None, (behind, *late)):
        yield _held(heap, reached, "" if heap is behind else "delayed")


def _held(heap: Block, due: int, fault: str) -> Departure:
    return Departure(heap.start, heap.stop, due, fault, heap)


def _number(word: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < np.inf:
        raise ConfigError("--faults", f"{word!r} has no number that makes sense", _EXAMPLE)
    return number
