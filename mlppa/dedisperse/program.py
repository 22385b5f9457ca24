"""A tree as a list of instructions for one tile of time, to be worked off depth first.

So the partial sums that are alive at a time fit the second-level cache. They lie on two
stacks of int8 scratch: the rows of a node on one, those of its children on the other.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .tree import LEAF, ROOT, Ints, Node, is_fresh, plan_tree

#: Kinds of instructions: add eight channels, or fewer, or four rows.
ADD_CHANNELS, ADD_FEW_CHANNELS, ADD_ROWS = 0, 1, 2

#: Things that one instruction can add.
SOURCES = max(LEAF, ROOT)

#: An instruction is its kind, where to, samples, things to add, bits to divide by, a number
#: that is odd where the first sample rounds up, and the first channel; then come its sources.
KIND, TO, SAMPLES, COUNT, BITS, TURN, CHANNEL, SOURCE = range(8)

#: Rows are laid out in steps of so many elements: a whole vector.
STEP = 64


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """What makes the rows of a run of sweeps.

    Parameters
    ----------
    tree
        The plan, channels in the order of rising delay.
    steps
        One instruction a line, shape (n, SOURCE + SOURCES). Sources that are channels count
        from the sample that makes the first one of a tile in a row of sweep 0.
    roots
        For each row the scratch elements of the eight rows that make it, (nrows, 8).
    zeros
        How many elements in front of the scratch must stay zero. As many follow that
        must be 0, 1, 0, 1, ...: what a division rounds up by.
    scratch
        Elements of scratch that it needs.
    """

    tree: Node
    steps: Ints
    roots: Ints
    zeros: int
    scratch: int


def compile_tree(shape: NDArray[np.float64], sweeps: Ints, length: int) -> Program:
    """Plan the tree of a run of sweeps and write it down as instructions.

    Parameters
    ----------
    shape
        Delay of each channel as a fraction of the sweep, ascending, shape (nchans,).
    length
        Samples of a tile.
    """
    return _compile_tree(shape.tobytes(), sweeps.astype(np.int64).tobytes(), length)


@lru_cache(maxsize=64)
def _compile_tree(shape: bytes, sweep_list: bytes, length: int) -> Program:
    # octaves begin with the same sweeps, and end with others
    sweeps = np.frombuffer(sweep_list, np.int64)
    tree = plan_tree(np.frombuffer(shape), sweeps)
    emitter = _Emitter()
    emitter.lay_out(tree, -sweeps, np.full(len(sweeps), length))
    roots = emitter.make_children(tree, 0)
    steps, parity = np.concatenate(emitter.steps), np.concatenate(emitter.parity)
    # a row of zeros stands in for children that are not there
    zeros = int(steps[:, SAMPLES].max()) + STEP
    bases = np.array([2 * zeros, 2 * zeros + emitter.most[0]])
    steps[:, TO] += bases[parity]
    inner = steps[:, KIND] == ADD_ROWS
    steps[inner, SOURCE:] = _placed(steps[inner, SOURCE:], bases[1 - parity[inner], None])
    scratch = int(bases[1]) + emitter.most[1] + STEP
    return Program(tree, steps, _placed(roots, bases[0]), zeros, scratch)


def _placed(sources: Ints, base: np.ndarray) -> Ints:
    return np.where(sources < 0, 0, sources + base)


@dataclass
class _Emitter:
    windows: dict[int, tuple[Ints, Ints]] = field(default_factory=dict)
    steps: list[Ints] = field(default_factory=list)
    parity: list[Ints] = field(default_factory=list)
    top: list[int] = field(default_factory=lambda: [0, 0])
    most: list[int] = field(default_factory=lambda: [0, 0])

    def lay_out(self, node: Node, first: Ints, count: Ints) -> None:
        """Note which samples of each row its parents need: (first raw sample, how many)."""
        self.windows[id(node)] = first, count
        if node.pick is None:
            return
        for child, pick, shift in zip(node.children, node.pick, node.shift, strict=True):
            begins = first + shift
            runs = np.flatnonzero(is_fresh(pick))
            begin = np.minimum.reduceat(begins, runs)
            self.lay_out(child, begin, np.maximum.reduceat(begins + count, runs) - begin)

    def make_children(self, node: Node, parity: int) -> Ints:
        """Make the children of a node on a stack; the sources of its rows, -1 for none."""
        first, _ = self.windows[id(node)]
        sources = np.full((len(node.sweeps), SOURCES), -1, np.int64)
        if node.pick is None:
            sources[:, : len(node.shift)] = (first + node.shift).T
            return sources
        for i, (child, pick) in enumerate(zip(node.children, node.pick, strict=True)):
            slots = self.make_rows(child, parity, i % 2)
            begin, _ = self.windows[id(child)]
            sources[:, i] = (slots - begin)[pick] + first + node.shift[i]
        return sources

    def make_rows(self, node: Node, parity: int, turn: int) -> Ints:
        """Make the rows of a node on a stack; where they lie.

        ``turn`` is the parity of the samples that round up, of those of its first channel.
        """
        first, count = self.windows[id(node)]
        before = self.top[1 - parity]
        sources = self.make_children(node, 1 - parity)
        things = len(node.shift)
        kind = ADD_ROWS
        if node.pick is None:
            kind = ADD_CHANNELS if things == LEAF else ADD_FEW_CHANNELS
        # whole vectors, though a few samples more are read than a row needs; and one
        # step between rows, as strides of a power of two would share cache sets
        samples = -(-count // STEP) * STEP
        ends = self.top[parity] + np.cumsum(samples + STEP)
        slots = ends - samples - STEP
        self.top[parity] = int(ends[-1])
        steps = np.empty((len(slots), SOURCE + SOURCES), np.int64)
        steps[:, KIND], steps[:, TO], steps[:, SAMPLES] = kind, slots, samples
        steps[:, COUNT], steps[:, BITS] = things, node.bits
        steps[:, TURN], steps[:, CHANNEL] = first + 1 - turn, node.first
        steps[:, SOURCE:] = sources
        self.steps.append(steps)
        self.parity.append(np.full(len(slots), parity))
        self.most[parity] = max(self.most[parity], self.top[parity])
        self.top[1 - parity] = before
        return slots
