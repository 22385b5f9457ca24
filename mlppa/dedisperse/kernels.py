"""The tree and the boxcars in numba: saturating int8 and int16, tile by tile.

Everything lies in flat arrays and is addressed by unsigned offsets: then the compiler
makes full vectors of the inner loops, and the clamping becomes saturating additions.
Sums of eight channels saturate at 11 deviations, rows at 32767 counts: only bursts so
bright that they are found all the same, and measured elsewhere.
"""

import numpy as np
from numba import int8, int16, int32, njit, uint64
from numpy.typing import NDArray

from . import BLOCK, GROUP, NARROW_HALO
from .boxcars import ODD_WEIGHTS, WEIGHTS
from .program import ADD_CHANNELS, ADD_ROWS, BITS, COUNT, KIND, ODD, SAMPLES, SOURCE, TO

type Int8s = NDArray[np.int8]
type Int16s = NDArray[np.int16]
type Int64s = NDArray[np.int64]

#: Levels screened at full rate; wider boxcars are made of the sums of 32 samples.
NARROW = 4

_LOWEST = -32768
_W2, _W3, _W4 = WEIGHTS[2], WEIGHTS[3], WEIGHTS[4]
_O3, _O4 = ODD_WEIGHTS[3], ODD_WEIGHTS[4]
_H = NARROW_HALO


@njit(inline="always")
def _add8(a, b):  # type: ignore[no-untyped-def]
    total = int16(int16(a) + int16(b))
    return int8(min(max(total, int16(-128)), int16(127)))


@njit(inline="always")
def _add16(a, b):  # type: ignore[no-untyped-def]
    total = int32(int32(a) + int32(b))
    return int16(min(max(total, int32(-32768)), int32(32767)))


@njit(inline="always")
def _sum16(a, b):  # type: ignore[no-untyped-def]
    return int16(a + b)


@njit(inline="always")
def _weigh(total, weight):  # type: ignore[no-untyped-def]
    return int16((int32(total) * int32(weight)) >> int32(16))


@njit(nogil=True, cache=True, boundscheck=False)
def run_steps(steps: Int64s, raw: Int8s, parts: Int8s, zeros: int, begin: int) -> None:
    """Work off the instructions of a program for the tile that begins at ``begin``."""
    for k in range(steps.shape[0]):
        to, n = uint64(steps[k, TO]), uint64(steps[k, SAMPLES])
        if steps[k, KIND] == ADD_CHANNELS:
            add_channels(steps[k], raw, parts, begin)
        elif steps[k, KIND] == ADD_ROWS:
            add_rows(steps[k], parts, zeros)
        else:
            for i in range(n):
                parts[to + i] = int8(0)
            for source in range(SOURCE, SOURCE + steps[k, COUNT]):
                a = uint64(steps[k, source] + begin)
                for i in range(n):
                    parts[to + i] = _add8(parts[to + i], raw[a + i])


@njit(nogil=True, cache=True, boundscheck=False)
def add_channels(step: Int64s, raw: Int8s, parts: Int8s, begin: int) -> None:
    """Make a row of a leaf, of the eight channels that the instruction names."""
    to, n, s = uint64(step[TO]), uint64(step[SAMPLES]), SOURCE
    a, b = uint64(step[s] + begin), uint64(step[s + 1] + begin)
    c, d = uint64(step[s + 2] + begin), uint64(step[s + 3] + begin)
    e, f = uint64(step[s + 4] + begin), uint64(step[s + 5] + begin)
    g, h = uint64(step[s + 6] + begin), uint64(step[s + 7] + begin)
    for i in range(n):
        low = _add8(_add8(raw[a + i], raw[b + i]), _add8(raw[c + i], raw[d + i]))
        high = _add8(_add8(raw[e + i], raw[f + i]), _add8(raw[g + i], raw[h + i]))
        parts[to + i] = _add8(low, high)


@njit(nogil=True, cache=True, boundscheck=False)
def add_rows(step: Int64s, parts: Int8s, zeros: int) -> None:
    """Make a row of four, divided by a power of two; every other sample rounds up."""
    to, n, s = uint64(step[TO]), uint64(step[SAMPLES]), SOURCE
    a, b, c, d = uint64(step[s]), uint64(step[s + 1]), uint64(step[s + 2]), uint64(step[s + 3])
    turn = uint64(zeros + step[ODD])
    quarter = step[BITS] == 2
    most = int16(1 if quarter else 0)
    for i in range(n):
        low = _sum16(int16(parts[a + i]), int16(parts[b + i]))
        high = _sum16(int16(parts[c + i]), int16(parts[d + i]))
        up = _sum16(int16(parts[turn + i]), most)
        total = int16(_sum16(_sum16(low, high), up) >> int16(1))
        if quarter:
            total = int16(total >> int16(1))
        parts[to + i] = int8(min(max(total, int16(-128)), int16(127)))


@njit(nogil=True, cache=True, boundscheck=False)
def make_row(source: Int64s, parts: Int8s, bits: int, scratch: Int16s, to: int, n: int) -> None:
    """Add the eight rows that make a row of the whole band, and multiply by ``2**bits``."""
    a, b, c, d = uint64(source[0]), uint64(source[1]), uint64(source[2]), uint64(source[3])
    e, f, g, h = uint64(source[4]), uint64(source[5]), uint64(source[6]), uint64(source[7])
    factor, highest = int16(1 << bits), int16(32767 >> bits)
    for i in range(n):
        p = _sum16(int16(parts[a + i]), int16(parts[b + i]))
        q = _sum16(int16(parts[c + i]), int16(parts[d + i]))
        r = _sum16(int16(parts[e + i]), int16(parts[f + i]))
        t = _sum16(int16(parts[g + i]), int16(parts[h + i]))
        total = _sum16(_sum16(p, q), _sum16(r, t))
        scratch[to + i] = int16(min(max(total, int16(-highest)), highest) * factor)


@njit(nogil=True, cache=True, boundscheck=False)
def add_pairs(pairs: NDArray[np.int32], first: int, out: Int16s, to: int, n: int) -> None:
    """Make an odd level of the one below, read two int16 at a time."""
    for i in range(n):
        both = pairs[first + i]
        low, high = int32(int32(both << 16) >> 16), int32(both >> 16)
        out[to + i] = int16(min(max(int32(low + high), int32(-32768)), int32(32767)))


@njit(nogil=True, cache=True, boundscheck=False)
def halve_pairs(pairs: NDArray[np.int32], first: int, out: Int16s, to: int, n: int) -> None:
    """Make an even level of the one below."""
    for i in range(n):
        both = pairs[first + i]
        low, high = int32(int32(both << 16) >> 16), int32(both >> 16)
        out[to + i] = int16(int32(int32(low + high) + int32(1)) >> int32(1))


@njit(nogil=True, cache=True, boundscheck=False)
def score_row(scratch: Int16s, first: int, best: int, n: int) -> None:
    """Score boxcars of 1, 2, 3 and 4 samples; keep the better of them and what stands there."""
    u1, u2, u3 = uint64(1), uint64(2), uint64(3)
    for i in range(n):
        q = first + i
        one = scratch[q]
        two = _add16(one, scratch[q - u1])
        three = _add16(two, scratch[q - u2])
        four = _add16(three, scratch[q - u3])
        short = max(int16(one >> int16(1)), _weigh(two, _W2))
        long = max(_weigh(three, _W3), _weigh(four, _W4))
        scratch[best + i] = max(scratch[best + i], max(short, long))


@njit(nogil=True, cache=True, boundscheck=False)
def score_level(scratch: Int16s, first: int, best: int, n: int, odd: bool) -> None:
    """Score boxcars of 3 and 4 samples of a level."""
    u1, u2, u3 = uint64(1), uint64(2), uint64(3)
    w3, w4 = int16(_O3 if odd else _W3), int16(_O4 if odd else _W4)
    for i in range(n):
        q = first + i
        three = _add16(_add16(scratch[q], scratch[q - u1]), scratch[q - u2])
        four = _add16(three, scratch[q - u3])
        scratch[best + i] = max(scratch[best + i], max(_weigh(three, w3), _weigh(four, w4)))


@njit(nogil=True, cache=True, boundscheck=False)
def make_levels(scratch, pairs, place, h, n, levels, best, score):  # type: ignore[no-untyped-def]
    """Make levels 1 to NARROW of the row at ``place[0]`` and score those that are wanted.

    ``place`` and ``best`` hold the first element of each level and of its maxima; the row
    has ``h`` past samples and then ``n``.
    """
    one = uint64(1)
    for k in range(1, NARROW + 1):
        u = uint64(k)
        below, here, samples = place[k - 1], place[k], (h + n) >> u
        if k % 2:
            add_pairs(pairs, below >> one, scratch, here, samples)
        else:
            halve_pairs(pairs, below >> one, scratch, here, samples)
        if score and k <= levels:
            score_level(scratch, here + (h >> u), best[k], n >> u, k % 2 == 1)


@njit(nogil=True, cache=True, boundscheck=False)
def block_maxima(scratch, best, fold, n, lowest, score, level, to):  # type: ignore[no-untyped-def]
    """Reduce the maxima of the narrow levels to one of every block.

    Which level it was is told from a score of ``lowest`` on: below, nobody asks.
    ``fold`` is where 32 elements of scratch may be used.
    """
    for block in range(n // uint64(BLOCK)):
        row, one = best[0] + uint64(64) * block, best[1] + uint64(32) * block
        two, three = best[2] + uint64(16) * block, best[3] + uint64(8) * block
        four = best[4] + uint64(4) * block
        for i in range(uint64(32)):
            half = max(scratch[row + i], scratch[row + uint64(32) + i])
            scratch[fold + i] = max(half, scratch[one + i])
        for i in range(uint64(16)):
            half = max(scratch[fold + i], scratch[fold + uint64(16) + i])
            scratch[fold + i] = max(half, scratch[two + i])
        for i in range(uint64(8)):
            half = max(scratch[fold + i], scratch[fold + uint64(8) + i])
            scratch[fold + i] = max(half, scratch[three + i])
        highest = int16(_LOWEST)
        for i in range(uint64(4)):
            half = max(scratch[fold + i], scratch[fold + uint64(4) + i])
            highest = max(highest, max(half, scratch[four + i]))
        score[to + block] = highest
        level[to + block] = 0
        if highest >= lowest:
            level[to + block] = _level_of(highest, scratch, best, block)


@njit(nogil=True, cache=True, boundscheck=False)
def _level_of(highest, scratch, best, block):  # type: ignore[no-untyped-def]
    for k in range(NARROW + 1):
        size = uint64(BLOCK >> k)
        for i in range(size):
            if scratch[best[k] + block * size + i] == highest:
                return k
    return 0


@njit(nogil=True, cache=True, boundscheck=False)
def screen_rows(  # type: ignore[no-untyped-def]
    steps, roots, zeros, bits, raw, parts, tiles, levels, scratch, pairs, lowest, score, level, sums
):
    """Screen a run of rows: its tree tile by tile, boxcars up to 64 samples, sums of 32.

    Parameters
    ----------
    tiles
        Samples of a tile, tiles that only warm up the sums, tiles with outputs.
    scratch, pairs, base
        int16 scratch, the same as int32, and where the boxcars' part of it begins.
    lowest
        Score from which the level matters.
    score, level
        Out: maxima of narrow boxcars and their level, (ngroups * nblocks,).
    sums
        Out: sums of 32 samples (level 5), shape (nrows * tiles' samples / 32,).
    """
    tile, warm, count = tiles
    h, n = uint64(_H), uint64(tile)
    space = h + n + uint64(BLOCK)
    place = np.empty(NARROW + 1, np.uint64)
    best = np.empty(NARROW + 1, np.uint64)
    for k in range(NARROW + 1):
        place[k] = uint64(k) * space
        best[k] = uint64(NARROW + 1) * space + uint64(k) * n
    fold = best[NARROW] + n
    nblocks = count * tile // BLOCK
    nsums = (warm + count) * tile // 32
    last = place[NARROW] + (h >> uint64(NARROW))
    for t in range(warm + count):
        run_steps(steps, raw, parts, zeros, t * tile)
        for row in range(roots.shape[0]):
            if row % GROUP == 0:
                for i in range(best[0], best[NARROW] + n):
                    scratch[i] = _LOWEST
            make_row(roots[row], parts, bits, scratch, place[0], h + n)
            if t >= warm:
                score_row(scratch, place[0] + h, best[0], n)
            make_levels(scratch, pairs, place, h, n, levels, best, t >= warm)
            to = uint64(row * nsums + t * (tile // 32))
            add_pairs(pairs, last >> uint64(1), sums, to, n >> uint64(5))
            if t >= warm and (row % GROUP == GROUP - 1 or row == roots.shape[0] - 1):
                to = uint64(row // GROUP * nblocks + (t - warm) * (tile // BLOCK))
                block_maxima(scratch, best, fold, n, lowest, score, level, to)


@njit(nogil=True, cache=True, boundscheck=False)
def screen_sums(sums, nrows, nwarm, levels, scratch, pairs, score, level):  # type: ignore[no-untyped-def]
    """Screen the boxcars of more than 64 samples, made of sums of 32; better ones replace.

    Parameters
    ----------
    sums
        Shape (nrows, nwarm + outputs): the first ``nwarm`` are past ones.
    """
    nsums = len(sums) // nrows
    nout = nsums - nwarm
    nblocks = nout // 2
    a = uint64(0)
    b = a + uint64(nsums + BLOCK)
    best = b + uint64(nsums + BLOCK)
    for group in range((nrows + GROUP - 1) // GROUP):
        for i in range(best, best + uint64(2 * nout)):
            scratch[i] = _LOWEST
        for row in range(group * GROUP, min(group * GROUP + GROUP, nrows)):
            for i in range(nsums):
                scratch[a + uint64(i)] = sums[row * nsums + i]
            here, there, to, n, past = a, b, best, uint64(nout), uint64(nwarm)
            for k in range(5, levels + 1):
                if k > 5:
                    past, n = past >> uint64(1), n >> uint64(1)
                    if k % 2:
                        add_pairs(pairs, here >> uint64(1), scratch, there, past + n)
                    else:
                        halve_pairs(pairs, here >> uint64(1), scratch, there, past + n)
                    here, there = there, here
                score_level(scratch, here + past, to, n, k % 2 == 1)
                to += n
        to, n = best, nout
        for k in range(5, levels + 1):
            if k > 5:
                n >>= 1
            for i in range(n):
                block = group * nblocks + (((i + 1) << k) - 1) // BLOCK
                value = scratch[to + uint64(i)]
                if value > score[block]:
                    score[block] = value
                    level[block] = k
            to += uint64(n)
