"""What a second processor of this machine is worth: the ceiling for two threads.

    python -m benchmarks.processors

Each job is done by one thread, then by two at once, each on its own data; what is printed is how
much more gets done in the same time, the median of five. Two real cores give nearly 2 but for
memory, which they share; two threads of one core give less wherever one keeps its units busy.
"""

import sys
import threading
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from numba import njit

from mlppa.bench.ceiling import add

#: Bytes of each of the two arrays that are added up, for the caches of this machine and beyond.
SIZES = {"first cache": 8 << 10, "second cache": 256 << 10, "third cache": 4 << 20}
SIZES["memory"] = 64 << 20

#: Bytes that a job passes over, and steps of the scalar one.
BYTES, STEPS = 20_000_000_000, 300_000_000

REPEATS = 5


@njit(nogil=True, cache=False)
def chain(steps, seed):  # type: ignore[no-untyped-def]
    """Work on one number: every step needs the one before."""
    x = np.uint64(seed)
    for _ in range(steps):
        x ^= x << np.uint64(13)
        x ^= x >> np.uint64(7)
        x ^= x << np.uint64(17)
    return x


def gain(job: Callable[..., Any], first: tuple[Any, ...], second: tuple[Any, ...]) -> float:
    """Give how much more two threads do than one, in the same time."""
    start = perf_counter()
    job(*first)
    alone = perf_counter() - start
    threads = [threading.Thread(target=job, args=one) for one in (first, second)]
    start = perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 2 * alone / (perf_counter() - start)


def main() -> None:
    """Measure, and print."""
    chain(1, 1)
    gains = [gain(chain, (STEPS, 1), (STEPS, 2)) for _ in range(REPEATS)]
    sys.stdout.write(f"a chain of scalar operations: {median(gains):.2f}\n")
    for name, size in SIZES.items():
        arrays = [np.ones((2, size // 2), np.int16) for _ in range(2)]
        jobs = [(one[0, 1:], one[1], max(BYTES // (3 * size), 1)) for one in arrays]
        add(*jobs[0][:2], 1)
        gains = [gain(add, *jobs) for _ in range(REPEATS)]
        sys.stdout.write(f"vectors in the {name}: {median(gains):.2f}\n")


if __name__ == "__main__":
    main()
