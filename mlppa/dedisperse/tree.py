"""The plan of a dedispersion tree: which partial sums make every row.

A fast dispersion measure transform (Zackay & Ofek 2017, ApJ 835, 11) with many
children to a node instead of two. Neighbouring channels are summed first, for the few
delays that differ inside them; sums of neighbours are summed again, up to the band.
A row of a node stands for a sweep; its children's rows are the nearest ones, shifted so
that the mean delay is right. Rows that nobody uses are not made, channels need be no
power of two, and the sweeps may be any ascending list.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Channels summed at the leaves, children of the nodes above them, most of the root.
LEAF, BRANCH, ROOT = 8, 4, 8

type Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """Partial sums of the channels [first, last), in the order of rising delay.

    Parameters
    ----------
    sweeps
        Sweep of the whole band that each row stands for, shape (nrows,).
    mean
        Mean delay of the channels as summed, in samples, shape (nrows,).
    children
        Nodes of neighbouring channels; a channel alone has none.
    pick, shift
        Row r is the sum over children i of their row ``pick[i][r]``, read
        ``shift[i][r]`` samples later.
    """

    first: int
    last: int
    sweeps: NDArray[np.float64]
    mean: NDArray[np.float64]
    children: tuple["Node", ...] = ()
    pick: tuple[Ints, ...] = ()
    shift: tuple[Ints, ...] = ()


def plan_tree(shape: NDArray[np.float64], sweeps: Ints) -> Node:
    """Plan the tree of a band.

    Parameters
    ----------
    shape
        Delay of each channel as a fraction of the sweep, ascending, shape (nchans,).
    sweeps
        Sweeps in samples, ascending, shape (nrows,).
    """
    sizes = [1, min(LEAF, len(shape))]
    while -(-len(shape) // sizes[-1]) > ROOT:
        sizes.append(sizes[-1] * BRANCH)
    return _node(shape, (0, len(shape)), sizes, sweeps.astype(np.float64))


def _node(
    shape: NDArray[np.float64],
    channels: tuple[int, int],
    sizes: list[int],
    sweeps: NDArray[np.float64],
) -> Node:
    first, last = channels
    if not sizes:
        return Node(first, last, sweeps, np.zeros(len(sweeps)))
    children, pick, shift = [], [], []
    mean = np.zeros(len(sweeps))
    for a in range(first, last, sizes[-1]):
        b = min(a + sizes[-1], last)
        # a row of the child for every sample of sweep inside it, where a row here wants one
        inside = shape[b - 1] - shape[a]
        keys, which = np.unique(np.floor(sweeps * inside + 0.5), return_inverse=True)
        child = _node(shape, (a, b), sizes[:-1], keys / inside if inside > 0 else keys)
        wanted = sweeps * (shape[a:b].mean() - shape[first])
        later = np.floor(wanted - child.mean[which] + 0.5)
        mean += (b - a) / (last - first) * (later + child.mean[which])
        children.append(child)
        pick.append(which)
        shift.append(later.astype(np.int64))
    return Node(first, last, sweeps, mean, tuple(children), tuple(pick), tuple(shift))


def root_shift(root: Node, shape: NDArray[np.float64]) -> Ints:
    """Delay of each row behind the top channel, so that the mean of the band is right."""
    return np.asarray(np.floor(root.sweeps * shape.mean() - root.mean + 0.5), np.int64)


def node_delays(node: Node) -> Ints:
    """Delay of every channel as a node sums it, shape (nrows, channels of the node)."""
    if not node.children:
        return np.zeros((len(node.sweeps), 1), np.int64)
    parts = [
        node_delays(child)[pick] + shift[:, None]
        for child, pick, shift in zip(node.children, node.pick, node.shift, strict=True)
    ]
    return np.concatenate(parts, axis=1)
