"""What a search has to add up, and how much a processor can: the ceiling that it comes near.

Additions are of 16-bit integers. Of 8-bit ones, which the tree sums up but for its last step,
twice as many fit a vector: they count half. Comparisons, and all that is done beside the
screen, are not counted: they are among what keeps a search from its ceiling.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numpy as np
from numba import njit

from ..dedisperse import Octave
from ..dedisperse.arrays import Int16s
from ..dedisperse.engine import Engine
from ..dedisperse.tree import Node
from ..search import SearchPlan

#: The sums at hand fit the second cache, and so do these two arrays together, in bytes.
CACHED = 384 << 10

#: So many times they are added up: for a tenth of a second or less.
TIMES = 10_000


@njit(nogil=True, cache=True)
def add(total: Int16s, more: Int16s, times: int) -> None:
    """Add one array to another, which a shift keeps from the bounds of cache lines."""
    for _ in range(times):
        for i in range(len(total)):
            total[i] += more[i + 1]


def ceiling(processors: int) -> float:
    """Measure how many additions so many processors do at once, in one second."""
    pinned = hasattr(os, "sched_setaffinity")
    chosen = sorted(os.sched_getaffinity(0))[:processors] if pinned else []

    def count(number: int) -> float:
        if chosen:
            # of this thread alone
            os.sched_setaffinity(0, {chosen[number % len(chosen)]})
        total = np.zeros(CACHED // 4, np.int16)
        more = np.ones(len(total) + 1, np.int16)
        add(total, more, 1)
        began = perf_counter()
        add(total, more, TIMES)
        return float(TIMES * len(total) / (perf_counter() - began))

    with ThreadPoolExecutor(processors) as pool:
        return sum(pool.map(count, range(processors)))


def additions_per_s(plan: SearchPlan) -> float:
    """Count what the screen adds up for a second of data, in all parts of the band."""
    engine = Engine()
    each = [
        _additions(octave, engine) / 2**octave.index for one in plan.plans for octave in one.octaves
    ]
    engine.close()
    return float(sum(each) / plan.tsamp_s)


def _additions(octave: Octave, engine: Engine) -> float:
    """Count the additions for each sample of an octave: of its trees, and of its boxcars."""
    # boxcars of 2 to 4 samples of the rows; of each level, what makes it and its 3 and 4
    boxcars = 3 + sum(4 / 2**level for level in range(1, octave.levels + 1))
    trees = sum(_of_node(tree, 1.0) for tree in engine.trees(octave))
    return float(trees + boxcars * len(octave.sweeps))


def _of_node(node: Node, weight: float) -> float:
    own = weight * len(node.sweeps) * (len(node.shift) - 1)
    return own + sum(_of_node(child, 0.5) for child in node.children)
