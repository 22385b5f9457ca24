import threading
import time
from collections.abc import Iterator

import pytest

from mlppa.channel import Worker, prefetch

from .conftest import MetricDelta

SOON_S = 5.0


def endless(started: threading.Event, closed: threading.Event) -> Iterator[int]:
    started.set()
    try:
        while True:
            yield 0
    finally:
        closed.set()


def test_items_come_in_order() -> None:
    assert list(prefetch(range(1000), 3, name="order")) == list(range(1000))


def test_nothing_runs_before_the_first_next() -> None:
    started, closed = threading.Event(), threading.Event()
    reader = prefetch(endless(started, closed), 1, name="lazy")
    assert not started.wait(0.05)
    next(reader)
    assert started.is_set()


def test_items_are_made_in_the_named_thread() -> None:
    names = (threading.current_thread().name for _ in range(2))
    assert list(prefetch(names, 1, name="worker")) == ["worker", "worker"]


def test_waiting_producer_is_at_most_depth_ahead() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    reader = prefetch(numbers(), 4, name="depth")
    next(reader)
    deadline = time.monotonic() + SOON_S
    while len(made) < 6 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.05)
    assert len(made) == 6, "one was read, four wait, one is in the producer's hand"


def test_error_comes_after_the_good_items() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("the cause")

    reader = prefetch(broken(), 4, name="broken")
    assert next(reader) == 1
    with pytest.raises(ValueError, match="the cause"):
        next(reader)


def test_error_while_starting_is_not_lost() -> None:
    class Broken:
        def __iter__(self) -> Iterator[int]:
            raise ValueError("cannot start")

    with pytest.raises(ValueError, match="cannot start"):
        next(prefetch(Broken(), 1, name="unstartable"))


def test_first_error_of_a_chain_wins() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise ValueError("first")

    def stage(items: Iterator[int]) -> Iterator[int]:
        try:
            yield from items
        finally:
            closed.append(True)

    closed: list[bool] = []
    chain = prefetch(stage(prefetch(source(), 1, name="a")), 1, name="b")
    with pytest.raises(ValueError, match="first"):
        list(chain)
    assert closed == [True]


@pytest.mark.parametrize("on_full", ["wait", "drop_oldest"])
def test_closing_the_reader_closes_what_is_above(on_full: str) -> None:
    started, closed = threading.Event(), threading.Event()
    above = prefetch(endless(started, closed), 1, name="above")
    reader = prefetch(above, 1, "wait" if on_full == "wait" else "drop_oldest", name="below")
    next(reader)
    begin = time.monotonic()
    reader.close()
    assert closed.is_set()
    assert time.monotonic() - begin < 1
    assert not {"above", "below"} & {thread.name for thread in threading.enumerate()}


def test_live_producer_is_never_held_back(metric_delta: type[MetricDelta]) -> None:
    taken, all_made = threading.Event(), threading.Event()

    def live() -> Iterator[int]:
        yield -1
        assert taken.wait(SOON_S)
        yield from range(10)
        all_made.set()

    dropped = metric_delta("mlppa_dropped_total", queue="live")
    reader = prefetch(live(), 2, "drop_oldest", name="live")
    assert next(reader) == -1
    taken.set()
    assert all_made.wait(SOON_S), "the producer was held back"
    assert list(reader) == [8, 9]
    assert dropped() == 8


def test_queue_has_its_series_before_it_runs(metric_delta: type[MetricDelta]) -> None:
    prefetch([], 1, name="quiet")
    assert metric_delta("mlppa_queue_depth", queue="quiet")() == 0
    assert metric_delta("mlppa_dropped_total", queue="quiet")() == 0


def test_depth_falls_to_zero_when_the_reader_leaves(metric_delta: type[MetricDelta]) -> None:
    depth = metric_delta("mlppa_queue_depth", queue="left")
    reader = prefetch(iter(range(100)), 3, name="left")
    next(reader)
    reader.close()
    assert depth() == 0


def test_a_worker_does_all_in_order_in_its_thread() -> None:
    done: list[tuple[int, str]] = []
    worker = Worker[int](lambda n: done.append((n, threading.current_thread().name)), 9, name="w1")
    assert all(worker.put(number) for number in range(9))
    assert worker.close(SOON_S) == 0
    assert done == [(number, "w1") for number in range(9)]
    assert not worker.alive()
    assert not worker.put(9), "it is closed"


def test_nobody_waits_for_a_worker(metric_delta: type[MetricDelta]) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(number: int) -> None:
        begun.set()
        go_on.wait(SOON_S)

    dropped = metric_delta("mlppa_dropped_total", queue="w2")
    worker = Worker(work, 2, name="w2")
    assert worker.put(0)
    assert begun.wait(SOON_S)
    assert [worker.put(number) for number in range(4)] == [True, True, False, False]
    assert dropped() == 2
    assert worker.close(0.01) == 2, "two still wait"
    assert dropped() == 4
    assert worker.alive(), "the one in hand is left behind"
    go_on.set()
    assert not worker.alive(SOON_S)


def test_what_a_worker_waits_for_ends_when_it_is_closed() -> None:
    begun = threading.Event()

    def work(number: int) -> None:
        begun.set()
        worker.pause(SOON_S)

    worker = Worker(work, 1, name="w3")
    worker.put(0)
    assert begun.wait(SOON_S)
    begin = time.monotonic()
    worker.close(SOON_S)
    assert time.monotonic() - begin < 1


def test_an_error_of_a_worker_is_not_lost() -> None:
    def work(number: int) -> None:
        raise ValueError("the cause")

    worker = Worker(work, 1, name="w4")
    worker.put(0)
    assert not worker.alive(SOON_S)
    with pytest.raises(ValueError, match="the cause"):
        worker.put(1)
    with pytest.raises(ValueError, match="the cause"):
        worker.close(0)
