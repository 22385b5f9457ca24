"""Heaps from a UDP port, by spead2, in bounded memory."""

import logging
import re
import select
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import spead2
import spead2.recv
from numpy.typing import NDArray

from ..metrics import HEAPS, PACKETS_DROPPED
from .udp import dropped_packets

#: Heaps that may be on their way at once: their packets may come mixed.
MIXED = 16

_POLL_MS = 100
_COUNT_EVERY_S = 0.25
_TELL_EVERY_S = 60.0


@dataclass(frozen=True, slots=True, eq=False)
class Heap:
    """What a heap brought: numbers by item, the payloads as bytes.

    spead2 does not tell when it was complete; ``received_s`` is when it was taken, which is
    at once unless heaps wait.
    """

    numbers: dict[int, int]
    payloads: dict[int, NDArray[np.uint8]]
    received_s: float


class Port:
    """A UDP port, as spead2 listens to it.

    Parameters
    ----------
    listener
        Its socket.
    ring
        Complete heaps that may wait: when there are more, the kernel's buffer fills, and
        then it drops packets.
    """

    def __init__(self, listener: socket.socket, ring: int) -> None:
        logging.getLogger("spead2").addFilter(_seldom)
        self.closed = False
        self.ring = ring
        self._listener = listener
        self._stream = spead2.recv.Stream(
            spead2.ThreadPool(1),
            spead2.recv.StreamConfig(
                max_heaps=MIXED,
                allow_unsized_heaps=False,
                allow_out_of_order=True,
                stop_on_stop_item=False,
            ),
            spead2.recv.RingStreamConfig(heaps=ring),
        )
        self._stream.add_udp_reader(listener, max_size=1 << 16)
        self._counted = [0, 0]
        self._count_s = 0.0

    def heaps(self) -> Iterator[Heap | None]:
        """Give heaps as they come, and None when there was none for a moment."""
        poller = select.poll()
        poller.register(self._stream.fd, select.POLLIN)
        while not self.closed:
            if time.monotonic() >= self._count_s:
                self._count()
            try:
                heap = self._stream.get_nowait()
            except spead2.Empty:
                if not poller.poll(_POLL_MS):
                    self._count()
                    yield None
            except spead2.Stopped:
                return
            else:
                yield _taken(heap)

    def close(self) -> None:
        """Let the port go, and whoever waits for it."""
        self.closed = True
        self._stream.stop()
        self._listener.close()

    def _count(self) -> None:
        """Count what was lost on the way since the last time."""
        self._count_s = time.monotonic() + _COUNT_EVERY_S
        lost = self._stream.stats["incomplete_heaps_evicted"]
        dropped = dropped_packets(self._listener)
        HEAPS.labels(fate="incomplete").inc(max(0, lost - self._counted[0]))
        PACKETS_DROPPED.inc(max(0, dropped - self._counted[1]))
        self._counted = [lost, dropped]


def _taken(heap: spead2.recv.Heap) -> Heap:
    numbers, payloads = {}, {}
    for item in heap.get_items():
        if item.is_immediate:
            numbers[item.id] = item.immediate_value
        else:
            payloads[item.id] = np.array(item, copy=False)
    return Heap(numbers, payloads, time.monotonic())


class _Seldom(logging.Filter):
    """Lets each kind of message through once a minute: spead2 has one for every bad packet."""

    def __init__(self) -> None:
        super().__init__()
        self._next_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind = re.sub(r"[0-9]+", "", record.getMessage())[:80]
        now = time.monotonic()
        news = now >= self._next_s.get(kind, now)
        if news:
            self._next_s[kind] = now + _TELL_EVERY_S
        return news


_seldom = _Seldom()
