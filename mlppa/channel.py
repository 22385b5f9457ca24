"""The one place where threads meet.

A pipeline is a chain of iterators, and `prefetch` is one more of them: it runs the
part of the chain above it in a thread of its own. All locks are here.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from time import monotonic
from typing import Literal

from .metrics import DROPPED, QUEUE_DEPTH

logger = logging.getLogger(__name__)

type Shed[T] = Callable[[T, Sequence[T]], T]
type OnFull[T] = Literal["wait", "drop_oldest"] | Shed[T]

#: How long a closed reader waits for its producer, in seconds. A producer that is
#: inside a read of its source cannot be interrupted, only left behind.
PATIENCE_S = 5.0


def prefetch[T](
    items: Iterable[T], depth: int, on_full: OnFull[T] = "wait", *, name: str
) -> Generator[T, None, None]:
    """Run the chain above in a thread, at most ``depth`` items ahead of the reader.

    The thread starts with the first ``next``. When the reader is closed (or
    forgotten) the producer stops after the item in hand, and closes ``items`` if it
    is a generator.

    Parameters
    ----------
    items
        The chain above; it is iterated in the new thread only.
    depth
        How many items may wait, at least 1.
    on_full
        ``"wait"`` holds the producer back: nothing is lost. ``"drop_oldest"`` never
        does: the item that has waited longest is dropped and counted. A function has the
        older half dropped at once, one long hole instead of many: it is given the item behind
        them, and them, and gives what takes its place.
    name
        Name of the thread, and of the queue in the metrics.

    Returns
    -------
    reader
        The same items in the same order. An error above is raised here, itself,
        after the good items before it.
    """
    # Not a generator itself, so that the series of the queue exist before it runs.
    return _read(items, _Channel[T](name, depth, on_full), name)


def _read[T](items: Iterable[T], channel: "_Channel[T]", name: str) -> Generator[T, None, None]:
    producer = threading.Thread(target=_produce, args=(items, channel), name=name, daemon=True)
    producer.start()
    try:
        yield from channel
    finally:
        channel.abandon()
        producer.join(PATIENCE_S)
        if producer.is_alive():
            logger.warning("%s: still busy %g s after it was asked to stop", name, PATIENCE_S)


def merge[T](
    streams: Mapping[str, Iterable[T]], depth: int, tick_s: float, *, name: str
) -> Generator[tuple[str, T] | None, None, None]:
    """Run several chains in threads of their own, and give their items as they come.

    The threads start with the first ``next``; as with `prefetch` they end with the reader.

    Parameters
    ----------
    streams
        The chains, by name.
    depth
        How many items may wait; then the chains wait.
    tick_s
        So often None is given, at least, when there is no item.
    name
        Of the queue in the metrics.

    Yields
    ------
    item
        With the name of its chain. The first error of a chain is raised here.
    """
    channel = _Channel[tuple[str, T]](name, depth)
    running = [_Named(stream, items, channel) for stream, items in streams.items()]
    for one in running:
        one.start()
    try:
        for item in channel.ticking(tick_s):
            yield item
            if item is None and not any(one.is_alive() for one in running):
                channel.end()
    finally:
        channel.abandon()
        until = monotonic() + PATIENCE_S
        for one in running:
            one.join(max(until - monotonic(), 0))
            if one.is_alive():
                logger.warning("%s: still busy %g s after it was asked", one.name, PATIENCE_S)


class _Named[T](threading.Thread):
    """Runs one of several chains; its end is not the end of the others."""

    def __init__(self, stream: str, items: Iterable[T], channel: "_Channel[tuple[str, T]]") -> None:
        super().__init__(name=stream, daemon=True)
        self._stream, self._items, self._channel = stream, items, channel

    def run(self) -> None:
        """Iterate."""
        try:
            for item in self._items:
                if not self._channel.put((self._stream, item)):
                    break
        except BaseException as error:  # nothing is swallowed: the reader raises it
            self._channel.end(error)
        finally:
            close = getattr(self._items, "close", None)
            if close is not None:
                close()


def _produce[T](items: Iterable[T], channel: "_Channel[T]") -> None:
    try:
        stream = iter(items)
        try:
            for item in stream:
                if not channel.put(item):
                    break
        finally:
            close = getattr(stream, "close", None)
            if close is not None:
                close()
    except BaseException as error:  # nothing is swallowed: the reader raises it
        channel.end(error)
    else:
        channel.end()


class Worker[T]:
    """Does slow work for whoever must not wait, item by item, in a thread of its own.

    Parameters
    ----------
    work
        Called with one item at a time, in the order of `put`. What it raises is raised
        by the next `put`, and by `close`.
    depth
        How many items may wait, at least 1.
    name
        Name of the thread, and of the queue in the metrics.
    """

    def __init__(self, work: Callable[[T], None], depth: int, *, name: str) -> None:
        self._work = work
        self._channel = _Channel[T](name, depth, "wait")
        self._dropped = DROPPED.labels(queue=name)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: T) -> bool:
        """Leave an item, never None, to the thread; False where the queue is full.

        What is not taken is counted as dropped.
        """
        return self._channel.offer(item)

    def pause(self, seconds: float) -> None:
        """Let the work wait; not after the beginning of `close`."""
        self._channel.wait_for_the_end(seconds)

    def close(self, patience_s: float) -> int:
        """Let what waits be done, for so long at most; give the number of items left undone.

        They are counted as dropped. The item in hand is not among them: work that does
        not end is left behind, and `alive` says so.
        """
        self._channel.end()
        self._thread.join(patience_s)
        left = self._channel.abandon()
        self._dropped.inc(left)
        self._channel.raise_error()
        return left

    def alive(self, patience_s: float = 0.0) -> bool:
        """Whether the thread still works, after so long at most."""
        self._thread.join(patience_s)
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            for item in self._channel:
                self._work(item)
        except BaseException as error:  # nothing is swallowed: put and close raise it
            self._channel.fail(error)


class _Channel[T]:
    """A bounded queue that ends.

    Items that were put before the end are still delivered. The first `end` counts:
    the first error is the cause, and later ones are its consequences.
    """

    def __init__(self, name: str, depth: int, on_full: OnFull[T] = "wait") -> None:
        self._items: deque[T] = deque()
        self._depth = depth
        self._on_full = on_full
        self._ended = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._waiting = QUEUE_DEPTH.labels(queue=name)
        self._dropped = DROPPED.labels(queue=name)

    def put(self, item: T) -> bool:
        """Add an item; False says that nobody wants it any more."""
        with self._changed:
            if self._on_full == "wait":
                self._changed.wait_for(lambda: self._ended or len(self._items) < self._depth)
            if self._ended:
                return False
            if len(self._items) == self._depth:
                self._shed()
            self._items.append(item)
            self._announce()
            return True

    def _shed(self) -> None:
        """Make room."""
        many = callable(self._on_full)
        gone = [self._items.popleft() for _ in range(self._depth // 2 if many else 1)]
        self._dropped.inc(len(gone))
        if callable(self._on_full):
            self._items[0] = self._on_full(self._items[0], gone)

    def offer(self, item: T) -> bool:
        """Add an item if there is room; False says that it was dropped."""
        with self._changed:
            if self._error is not None:
                raise self._error
            if self._ended or len(self._items) == self._depth:
                self._dropped.inc()
                return False
            self._items.append(item)
            self._announce()
            return True

    def wait_for_the_end(self, seconds: float) -> None:
        """Wait so long, or until the stream ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended, seconds)

    def fail(self, error: BaseException) -> None:
        """End the stream because its reader failed."""
        with self._changed:
            self._ended = True
            self._error = error
            self._announce()

    def raise_error(self) -> None:
        """Raise what ended the stream, if anything did."""
        if self._error is not None:
            raise self._error

    def end(self, error: BaseException | None = None) -> None:
        """End the stream, for a reason or without."""
        with self._changed:
            if not self._ended:
                self._ended = True
                self._error = error
                self._announce()

    def abandon(self) -> int:
        """End the stream for want of a reader; give how many items wait: they are forgotten."""
        with self._changed:
            left = len(self._items)
            self._items.clear()
            self._ended = True
            self._announce()
            return left

    def _announce(self) -> None:
        self._waiting.set(len(self._items))
        self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        for item in self.ticking(None):
            if item is not None:
                yield item

    def ticking(self, tick_s: float | None) -> Iterator[T | None]:
        """Give the items, and None whenever none has come for so long."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or bool(self._items), tick_s)
                item = self._items.popleft() if self._items else None
                if item is None and self._ended:
                    break
                if item is not None:
                    self._announce()
            yield item
        if self._error is not None:
            raise self._error
