"""The plan of a dedispersion tree: which partial sums make every row.

A fast dispersion measure transform (Zackay & Ofek 2017, ApJ 835, 11) with many
children to a node instead of two. Neighbouring channels are summed first, for the few
delays that differ inside them; sums of neighbours are summed again, up to the band.
A row of a node stands for a sweep; its children's rows are the nearest ones, shifted so
that the mean delay is right. Rows that nobody uses are not made, channels need be no
power of two, and the sweeps may be any ascending list.

Partial sums keep to 8 bits. With samples of 4 counts a sum of eight channels has a noise
of 11 counts; sums of four such rows are halved and have 11 again, the last ones below the
root are quartered and have 6. So rounding adds 0.5 % to the variance, and a sample of a
pulse that fills the band is whole up to an S/N of 60.
"""

from dataclasses import dataclass, replace

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
    shift
        Row r reads child i ``shift[i, r]`` samples later, shape (nchildren, nrows).
    bits
        Its sums are divided by ``2**bits``; the root multiplies by what was divided by.
    children
        Nodes of neighbouring channels; the children of a leaf are the channels.
    pick
        Row r is the sum over children i of their row ``pick[i, r]``, same shape as
        ``shift``; every row of a child is wanted, and in ascending order.
    """

    first: int
    last: int
    sweeps: NDArray[np.float64]
    mean: NDArray[np.float64]
    shift: Ints
    bits: int = 0
    children: tuple["Node", ...] = ()
    pick: Ints | None = None


def plan_tree(shape: NDArray[np.float64], sweeps: Ints) -> Node:
    """Plan the tree of a band.

    Parameters
    ----------
    shape
        Delay of each channel as a fraction of the sweep, ascending, shape (nchans,).
    sweeps
        Sweeps in samples, ascending, shape (nrows,).
    """
    sizes = [min(LEAF, len(shape))]
    while -(-len(shape) // sizes[-1]) > ROOT:
        sizes.append(sizes[-1] * BRANCH)
    bits = -len(sizes) if len(sizes) > 1 else 0
    root = _node(shape, (0, len(shape)), sizes, sweeps.astype(np.float64), bits)
    late = np.floor(sweeps * shape.mean() - root.mean + 0.5)
    return replace(root, mean=root.mean + late, shift=root.shift + late.astype(np.int64))


def _node(
    shape: NDArray[np.float64],
    channels: tuple[int, int],
    sizes: list[int],
    sweeps: NDArray[np.float64],
    bits: int,
) -> Node:
    """Plan the sums of ``channels``, made of nodes of ``sizes[-1]`` channels."""
    first, last = channels
    if not sizes:
        delays = np.multiply.outer(shape[first:last] - shape[first], sweeps)
        shift = np.floor(delays + 0.5).astype(np.int64)
        return Node(first, last, sweeps, np.add.reduce(shift) / (last - first), shift)
    children, picks, shifts = [], [], []
    mean = np.zeros(len(sweeps))
    below = 0 if len(sizes) == 1 else 2 if bits < 0 else 1
    for a in range(first, last, sizes[-1]):
        b = min(a + sizes[-1], last)
        # a row of the child for every sample of sweep inside it, where a row here wants one
        inside = shape[b - 1] - shape[a]
        delay = np.floor(sweeps * inside + 0.5)
        fresh = is_fresh(delay)
        keys, pick = delay[fresh], np.cumsum(fresh) - 1
        keys = keys / inside if inside > 0 else keys
        child = _node(shape, (a, b), sizes[:-1], keys, below)
        wanted = sweeps * ((np.add.reduce(shape[a:b]) / (b - a)) - shape[first])
        later = np.floor(wanted - child.mean[pick] + 0.5)
        mean += (b - a) / (last - first) * (later + child.mean[pick])
        children.append(child)
        picks.append(pick)
        shifts.append(later.astype(np.int64))
    return Node(first, last, sweeps, mean, np.array(shifts), bits, tuple(children), np.array(picks))


def is_fresh(values: np.ndarray) -> NDArray[np.bool_]:
    """Tell which of sorted values differ from the one before."""
    fresh = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=fresh[1:])
    return fresh


def node_delays(node: Node) -> Ints:
    """Delay of every channel as a node sums it, shape (nrows, channels of the node)."""
    if node.pick is None:
        return node.shift.T
    parts = [
        node_delays(child)[pick] + shift[:, None]
        for child, pick, shift in zip(node.children, node.pick, node.shift, strict=True)
    ]
    return np.concatenate(parts, axis=1)
