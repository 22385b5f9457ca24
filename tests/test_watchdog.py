"""The watchdog: late, down, recovered, up; on a clock of the test's."""

from typing import Any

import numpy as np

from mlppa.data import Budget, Coverage, Report
from mlppa.watchdog import Ladder, Limits, Rung, Watchdog

LIMITS = Limits(late=1.0, recovered=0.8, smooth_s=2.0, patience_s=5.0)


def network(images: Any, features: Any) -> Any:
    return np.zeros(len(images), np.float32)


class Bench:
    """A watchdog over batches of a second, and a clock that goes with them."""

    def __init__(self, nrungs: int = 3) -> None:
        plan: Any = None
        self.ladder = Ladder([Rung(plan, network, 0.5, str(n), n) for n in range(nrungs)])
        self.now_s = 0.0
        self.watchdog = Watchdog(LIMITS, self.ladder, clock=lambda: self.now_s)
        self.seconds = {"search": 0.0, "clean": 0.0, "publish": 0.0}

    def batches(
        self, count: int, search_s: float, pace: float = 1.0, backlog: float = 0.0
    ) -> list[str]:
        news = []
        for _ in range(count):
            self.now_s += 1.0
            self.seconds = {**self.seconds, "search": self.seconds["search"] + search_s}
            coverage = Coverage(start=0, stop=100, searched=100, masked=0, missing=0)
            report = Report(coverage, Budget(dt_s=0.01, budget_s=1.0), ())
            said = self.watchdog.judge(report, self.seconds, pace, backlog)
            if said is not None:
                news.append(said)
        return news


def test_a_stream_in_time_is_left_alone() -> None:
    bench = Bench()
    assert bench.batches(50, 0.7) == []
    assert 0.69 < bench.watchdog.ratio < 0.71


def test_one_slow_batch_is_no_news() -> None:
    bench = Bench()
    bench.batches(10, 0.5)
    assert bench.batches(1, 1.4) == []
    assert bench.ladder.step == 0


def test_it_goes_down_step_by_step_and_up_again() -> None:
    bench = Bench()
    assert bench.batches(30, 1.5) == ["down", "down"]
    assert bench.ladder.step == 2
    assert bench.watchdog.late
    # between the two limits nothing changes
    assert bench.batches(30, 0.9) == []
    assert bench.ladder.step == 2
    assert bench.batches(60, 0.3) == ["up", "up"]
    assert bench.ladder.step == 0
    assert not bench.watchdog.late
    assert bench.watchdog.steps == {"down": 2, "up": 2}


def test_steps_wait_for_each_other() -> None:
    bench = Bench(10)
    assert bench.batches(21, 3.0).count("down") == 5


def test_without_a_ladder_it_says_late_and_recovered() -> None:
    bench = Bench(1)
    assert bench.batches(10, 1.5) == ["late"]
    assert bench.batches(10, 0.1) == ["recovered"]


def test_faster_than_the_sky_is_late_too() -> None:
    assert Bench(1).batches(10, 0.5, pace=3.0) == ["late"]


def test_a_queue_that_fills_is_late_whatever_the_stages_took() -> None:
    assert Bench(1).batches(3, 0.1, backlog=0.8) == ["late"]


def test_threads_work_beside_each_other() -> None:
    bench = Bench()
    for _ in range(20):
        bench.seconds = {name: s + 0.7 for name, s in bench.seconds.items()}
        bench.batches(1, 0.0)
    assert bench.watchdog.ratio < 0.75
