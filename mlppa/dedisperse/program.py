"""A tree as a list of instructions for one tile of time, to be worked off depth first.

So the partial sums that are alive at a time fit the second-level cache. They lie on two
stacks of int16 scratch: the rows of a node on one, those of its children on the other.
"""

from dataclasses import dataclass, field

import numpy as np

from .tree import Ints, Node, node_delays, plan_tree, root_shift

#: Kinds of instructions: add up to eight channels (int8), or four rows (int16).
ADD_CHANNELS, ADD_FEW_CHANNELS, ADD_ROWS = 0, 1, 2

#: Things that one instruction can add.
SOURCES = 8

#: Rows are laid out in steps of so many elements: a whole vector of int16, twice.
STEP = 64


@dataclass(frozen=True, slots=True)
class Layout:
    """How the raw samples lie.

    Parameters
    ----------
    rows
        Data row of each channel, in the order of rising delay.
    stride
        Samples from one data row to the next.
    first
        Sample of a row of sweep 0 that makes the first one of a tile at 0.
    length
        Samples of a tile.
    """

    rows: Ints
    stride: int
    first: int
    length: int


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """What makes the rows of a run of sweeps.

    Parameters
    ----------
    steps
        One instruction a line: kind, first scratch element of the result, samples, how
        many things to add, and the first elements of these; shape (n, 4 + SOURCES).
    roots
        For each row the scratch elements of the eight rows that make it, (nrows, 8).
    scratch
        Elements of scratch that it needs; the first of them must stay zero.
    delays
        Delay of every channel as summed, channels in the order of the data rows,
        shape (nrows, nchans).
    """

    steps: Ints
    roots: Ints
    scratch: int
    delays: Ints


def compile_tree(shape_by_delay: np.ndarray, sweeps: Ints, layout: Layout) -> Program:
    """Plan the tree of a run of sweeps and write it down as instructions."""
    root = plan_tree(shape_by_delay, sweeps)
    late = root_shift(root, shape_by_delay)
    emitter = _Emitter(layout)
    emitter.lay_out(root, layout.first - sweeps + late, np.full(len(sweeps), layout.length))
    # a row of zeros in front stands in for children that are not there
    zeros = _in_steps(layout.length)
    roots = emitter.make_children(root, 0)
    steps, parity = np.concatenate(emitter.steps), np.concatenate(emitter.parity)
    bases = np.array([zeros, zeros + emitter.most[0]])
    steps[:, 1] += bases[parity]
    inner = steps[:, 0] == ADD_ROWS
    steps[inner, 4:] = _placed(steps[inner, 4:], bases[1 - parity[inner], None])
    delays = np.empty((len(sweeps), len(layout.rows)), np.int64)
    delays[:, layout.rows] = node_delays(root) + late[:, None]
    scratch = int(bases[1]) + emitter.most[1] + 4 * STEP
    return Program(steps, _placed(roots, bases[0]), scratch, delays)


def _placed(sources: Ints, base: np.ndarray) -> Ints:
    return np.where(sources < 0, 0, sources + base)


def _in_steps(samples: int) -> int:
    return -(-int(samples) // STEP) * STEP


@dataclass
class _Emitter:
    layout: Layout
    windows: dict[int, tuple[Ints, Ints]] = field(default_factory=dict)
    steps: list[Ints] = field(default_factory=list)
    parity: list[Ints] = field(default_factory=list)
    top: list[int] = field(default_factory=lambda: [0, 0])
    most: list[int] = field(default_factory=lambda: [0, 0])

    def lay_out(self, node: Node, first: Ints, count: Ints) -> None:
        """Note which samples of each row its parents need: (first raw sample, how many)."""
        self.windows[id(node)] = first, count
        for child, pick, shift in zip(node.children, node.pick, node.shift, strict=True):
            begin = np.full(len(child.sweeps), np.iinfo(np.int64).max)
            end = np.full(len(child.sweeps), np.iinfo(np.int64).min)
            np.minimum.at(begin, pick, first + shift)
            np.maximum.at(end, pick, first + shift + count)
            if child.children:
                self.lay_out(child, begin, end - begin)

    def make_children(self, node: Node, parity: int) -> Ints:
        """Make the children of a node on a stack; the sources of its rows, -1 for none."""
        first, _ = self.windows[id(node)]
        sources = np.full((len(node.sweeps), SOURCES), -1, np.int64)
        children = zip(node.children, node.pick, node.shift, strict=True)
        for i, (child, pick, shift) in enumerate(children):
            if child.children:
                slots = self.make_rows(child, parity)
                begin, _ = self.windows[id(child)]
                sources[:, i] = slots[pick] + first + shift - begin[pick]
            else:
                sources[:, i] = self.layout.rows[child.first] * self.layout.stride + first + shift
        return sources

    def make_rows(self, node: Node, parity: int) -> Ints:
        """Make the rows of a node on a stack; where they lie."""
        _, count = self.windows[id(node)]
        before = self.top[1 - parity]
        sources = self.make_children(node, 1 - parity)
        kind = ADD_ROWS
        if not node.children[0].children:
            kind = ADD_CHANNELS if len(node.children) == SOURCES else ADD_FEW_CHANNELS
        # whole vectors, though a few samples more are read than a row needs; and one
        # step between rows, as strides of a power of two would share cache sets
        samples = -(-count // STEP) * STEP
        ends = self.top[parity] + np.cumsum(samples + STEP)
        slots = ends - samples - STEP
        self.top[parity] = int(ends[-1])
        steps = np.empty((len(slots), 4 + SOURCES), np.int64)
        steps[:, 0], steps[:, 1] = kind, slots
        steps[:, 2], steps[:, 3] = samples, len(node.children)
        steps[:, 4:] = sources
        self.steps.append(steps)
        self.parity.append(np.full(len(slots), parity))
        self.most[parity] = max(self.most[parity], self.top[parity])
        self.top[1 - parity] = before
        return slots
