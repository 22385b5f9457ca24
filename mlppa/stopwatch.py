"""Where the time goes: seconds of each stage in a chain of iterators."""

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from time import perf_counter

from .metrics import STAGE_SECONDS


class Stopwatch:
    """Times stages.

    A stage pulls its input while it is itself being pulled; the time of the input is
    taken off, so each stage is charged its own work only. Threads are kept apart.

    Attributes
    ----------
    seconds
        Own time of each stage so far.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._local = threading.local()

    def timed[T](self, stage: str | None, items: Iterable[T]) -> Iterator[T]:
        """Pass items on, and charge ``stage``, or nobody, with the time it takes to make them."""
        source = iter(items)
        while True:
            inner = self._local.__dict__.setdefault("inner", [])
            inner.append(0.0)
            began = perf_counter()
            try:
                item = next(source)
            except StopIteration:
                return
            finally:
                elapsed = perf_counter() - began
                own = elapsed - inner.pop()
                if inner:
                    inner[-1] += elapsed
                if stage is not None:
                    self.seconds[stage] += own
                    STAGE_SECONDS.labels(stage=stage).observe(own)
            yield item
