"""The tree and the boxcars in numba: saturating int8 and int16, tile by tile.

Everything lies in flat arrays and is addressed by unsigned offsets: then the compiler
makes full vectors of the inner loops, and the clamping becomes saturating additions.
Loops are forced into their callers: a call would count the references to every array that
it passes, atomically, and take as long as half a loop.

Sums of eight channels saturate at 11 deviations, as do those of 32 where there are more
above them, rows at 32767 counts: only bursts so bright that they are found all the same, and
measured elsewhere, or narrower than an eighth of the band.

Numba's cache looks at this file alone: after a change of what it imports, touch it.
"""

import numpy as np
from numba import int8, int16, int32, njit, uint64
from numpy.typing import NDArray

from . import BLOCK, GROUP, NARROW_HALO
from .arrays import Best, Code, Data, Int8s, Int16s, Int32s, Int64s, Place, Room, Task
from .boxcars import ODD_WEIGHTS, WEIGHTS
from .program import ADD_CHANNELS, ADD_ROWS, BITS, CHANNEL, COUNT, KIND, SAMPLES, SOURCE, TO, TURN

#: Levels screened at full rate; wider boxcars are made of the sums of 32 samples.
NARROW = 4

_LOWEST = -32768
_1, _2, _3 = uint64(1), uint64(2), uint64(3)
_W2, _W3, _W4 = WEIGHTS[2], WEIGHTS[3], WEIGHTS[4]
_O3, _O4 = ODD_WEIGHTS[3], ODD_WEIGHTS[4]
_TAIL = NARROW_HALO


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
def run_steps(code: Code, data: Data, parts: Int8s, begin: int, less: int) -> None:
    """Work off the program for the tile that begins at ``begin``, ``less`` samples shorter."""
    steps, zeros, raw, starts = code.steps, code.zeros, data.raw, data.starts
    begin += data.first
    for k in range(steps.shape[0]):
        to, n = uint64(steps[k, TO]), uint64(steps[k, SAMPLES] - less)
        if steps[k, KIND] == ADD_CHANNELS:
            add_channels(steps, k, raw, starts, parts, begin, n)
        elif steps[k, KIND] == ADD_ROWS:
            add_rows(steps, k, parts, zeros, begin, n)
        else:
            for i in range(n):
                parts[to + i] = int8(0)
            for j in range(steps[k, COUNT]):
                a = uint64(starts[steps[k, CHANNEL] + j] + steps[k, SOURCE + j] + begin)
                for i in range(n):
                    parts[to + i] = _add8(parts[to + i], raw[a + i])


@njit(inline="always")
def _source(steps, k, number, begin):  # type: ignore[no-untyped-def]
    return uint64(steps[k, SOURCE + number] + begin)


@njit(boundscheck=False, forceinline=True)
def add_channels(
    steps: Int64s, k: int, raw: Int8s, starts: Int64s, parts: Int8s, begin: int, n: Place
) -> None:
    """Make a row of a leaf, of the eight channels that the instruction names."""
    to, j = uint64(steps[k, TO]), steps[k, CHANNEL]
    a, b = _source(steps, k, 0, starts[j] + begin), _source(steps, k, 1, starts[j + 1] + begin)
    c, d = _source(steps, k, 2, starts[j + 2] + begin), _source(steps, k, 3, starts[j + 3] + begin)
    e, f = _source(steps, k, 4, starts[j + 4] + begin), _source(steps, k, 5, starts[j + 5] + begin)
    g, h = _source(steps, k, 6, starts[j + 6] + begin), _source(steps, k, 7, starts[j + 7] + begin)
    for i in range(n):
        low = _add8(_add8(raw[a + i], raw[b + i]), _add8(raw[c + i], raw[d + i]))
        high = _add8(_add8(raw[e + i], raw[f + i]), _add8(raw[g + i], raw[h + i]))
        parts[to + i] = _add8(low, high)


@njit(boundscheck=False, forceinline=True)
def add_rows(steps: Int64s, k: int, parts: Int8s, zeros: int, begin: int, n: Place) -> None:
    """Make a row of four, divided by a power of two; every other sample rounds up."""
    to = uint64(steps[k, TO])
    a, b = _source(steps, k, 0, 0), _source(steps, k, 1, 0)
    c, d = _source(steps, k, 2, 0), _source(steps, k, 3, 0)
    turn = uint64(zeros + (steps[k, TURN] + begin) % 2)
    quarter = steps[k, BITS] == 2
    most = int16(1 if quarter else 0)
    for i in range(n):
        low = _sum16(int16(parts[a + i]), int16(parts[b + i]))
        high = _sum16(int16(parts[c + i]), int16(parts[d + i]))
        up = _sum16(int16(parts[turn + i]), most)
        total = int16(_sum16(_sum16(low, high), up) >> int16(1))
        if quarter:
            total = int16(total >> int16(1))
        parts[to + i] = int8(min(max(total, int16(-128)), int16(127)))


@njit(boundscheck=False, forceinline=True)
def make_row(
    roots: Int64s, row: int, parts: Int8s, times: int, scratch: Int16s, to: Place, n: Place
) -> None:
    """Add the eight rows that make a row of the whole band, and multiply."""
    a, b = uint64(roots[row, 0]), uint64(roots[row, 1])
    c, d = uint64(roots[row, 2]), uint64(roots[row, 3])
    e, f = uint64(roots[row, 4]), uint64(roots[row, 5])
    g, h = uint64(roots[row, 6]), uint64(roots[row, 7])
    # not 2**bits made here: the compiler would shift 64 bits at a time
    factor, highest = int16(times), int16(32767 // times)
    for i in range(n):
        p = _sum16(int16(parts[a + i]), int16(parts[b + i]))
        q = _sum16(int16(parts[c + i]), int16(parts[d + i]))
        r = _sum16(int16(parts[e + i]), int16(parts[f + i]))
        t = _sum16(int16(parts[g + i]), int16(parts[h + i]))
        total = _sum16(_sum16(p, q), _sum16(r, t))
        scratch[to + i] = int16(min(max(total, int16(-highest)), highest) * factor)


@njit(boundscheck=False, forceinline=True)
def add_pairs(pairs: NDArray[np.int32], first: Place, out: Int16s, to: Place, n: Place) -> None:
    """Make an odd level of the one below, read two int16 at a time."""
    for i in range(n):
        both = pairs[first + i]
        low, high = int32(int32(both << 16) >> 16), int32(both >> 16)
        out[to + i] = int16(min(max(int32(low + high), int32(-32768)), int32(32767)))


@njit(boundscheck=False, forceinline=True)
def halve_pairs(pairs: NDArray[np.int32], first: Place, out: Int16s, to: Place, n: Place) -> None:
    """Make an even level of the one below."""
    for i in range(n):
        both = pairs[first + i]
        low, high = int32(int32(both << 16) >> 16), int32(both >> 16)
        out[to + i] = int16(int32(int32(low + high) + int32(1)) >> int32(1))


@njit(inline="always")
def _highest(a, b, c, d):  # type: ignore[no-untyped-def]
    return max(max(a, b), max(c, d))


@njit(inline="always")
def _sum3(x, i):  # type: ignore[no-untyped-def]
    return _add16(_add16(x[i], x[i - _1]), x[i - _2])


@njit(boundscheck=False, forceinline=True)
def max_pairs(pairs: Int32s, first: Place, out: Int16s, to: Place, n: Place) -> None:
    """Keep the higher one of each two."""
    for i in range(n):
        both = pairs[first + i]
        out[to + i] = int16(max(int32(int32(both << 16) >> 16), int32(both >> 16)))


@njit(boundscheck=False, forceinline=True)
def score_samples(rows: Int16s, first: Place, stride: Place, best: Place, n: Place) -> None:
    """Score boxcars of 1, 2, 3 and 4 samples; the best of a group's rows."""
    p, q = first, first + stride
    r, s = q + stride, q + stride + stride
    for i in range(n):
        a, b, c, d = rows[p + i], rows[q + i], rows[r + i], rows[s + i]
        one = _highest(a, b, c, d)
        a, b = _add16(a, rows[p + i - _1]), _add16(b, rows[q + i - _1])
        c, d = _add16(c, rows[r + i - _1]), _add16(d, rows[s + i - _1])
        two = _highest(a, b, c, d)
        a, b = _add16(a, rows[p + i - _2]), _add16(b, rows[q + i - _2])
        c, d = _add16(c, rows[r + i - _2]), _add16(d, rows[s + i - _2])
        three = _highest(a, b, c, d)
        a, b = _add16(a, rows[p + i - _3]), _add16(b, rows[q + i - _3])
        c, d = _add16(c, rows[r + i - _3]), _add16(d, rows[s + i - _3])
        four = _highest(a, b, c, d)
        short = max(int16(one >> int16(1)), _weigh(two, _W2))
        rows[best + i] = max(short, max(_weigh(three, _W3), _weigh(four, _W4)))


@njit(boundscheck=False, forceinline=True)
def score_level(
    level: Int16s, first: Place, stride: Place, rows: Int16s, best: Place, n: Place, odd: bool
) -> None:
    """Score boxcars of 3 and 4 samples of a level; the best of a group's rows, if better."""
    p, q = first, first + stride
    r, s = q + stride, q + stride + stride
    w3, w4 = int16(_O3 if odd else _W3), int16(_O4 if odd else _W4)
    for i in range(n):
        a, b = _sum3(level, p + i), _sum3(level, q + i)
        c, d = _sum3(level, r + i), _sum3(level, s + i)
        three = _highest(a, b, c, d)
        a, b = _add16(a, level[p + i - _3]), _add16(b, level[q + i - _3])
        c, d = _add16(c, level[r + i - _3]), _add16(d, level[s + i - _3])
        four = _highest(a, b, c, d)
        rows[best + i] = max(rows[best + i], max(_weigh(three, w3), _weigh(four, w4)))


@njit(boundscheck=False, forceinline=True)
def make_group(code: Code, group: int, room: Room, n: Place) -> None:
    """Make the next ``n`` samples of the rows of a group, behind the last ones before them.

    The last group may be short of rows: its last one then fills it up.
    """
    roots, factor, parts, rows, tails = code.roots, code.factor, room.parts, room.rows, room.tails
    nrows = roots.shape[0]
    to, tail = uint64(0), uint64(_TAIL)
    for row in range(group * GROUP, group * GROUP + GROUP):
        row = min(row, nrows - 1)
        kept = uint64(row) * tail
        for i in range(tail):
            rows[to + i] = tails[kept + i]
        make_row(roots, row, parts, factor, rows, to + tail, n)
        to += tail + n
    for row in range(group * GROUP, min(group * GROUP + GROUP, nrows)):
        last = uint64(row - group * GROUP + 1) * (tail + n) - tail
        kept = uint64(row) * tail
        for i in range(tail):
            tails[kept + i] = rows[last + i]


@njit(boundscheck=False, forceinline=True)
def score_narrow(room: Room, place, best, n, levels, score):  # type: ignore[no-untyped-def]
    """Make levels 1 to NARROW of a group's rows, and score those that are wanted.

    ``place`` and ``best`` hold the first element of each level and of its maxima, which
    count in those of the levels below.
    """
    tail = uint64(_TAIL)
    if score:
        score_samples(room.rows, tail, tail + n, best[0], n)
    for k in range(1, NARROW + 1):
        u = uint64(k)
        if score:
            max_pairs(room.pairs, best[k - 1] >> _1, room.rows, best[k], n >> u)
        if k <= levels:
            below, stride = place[k - 1] >> _1, (tail + n) >> u
            if k % 2:
                add_pairs(room.pairs, below, room.rows, place[k], uint64(GROUP) * stride)
            else:
                halve_pairs(room.pairs, below, room.rows, place[k], uint64(GROUP) * stride)
            if score:
                first = place[k] + (tail >> u)
                score_level(room.rows, first, stride, room.rows, best[k], n >> u, k % 2 == 1)


@njit(boundscheck=False, forceinline=True)
def block_maxima(rows: Int16s, best, n, lowest, out: Best, to):  # type: ignore[no-untyped-def]
    """Reduce the maxima of the narrow levels to one of every block.

    Which level it was is told from a score of ``lowest`` on: below, nobody asks.
    """
    for block in range(n // uint64(BLOCK)):
        first = best[NARROW] + uint64(BLOCK >> NARROW) * block
        highest = rows[first]
        for i in range(uint64(1), uint64(BLOCK >> NARROW)):
            highest = max(highest, rows[first + i])
        out.score[to + block] = highest
        out.level[to + block] = 0
        if highest >= lowest:
            out.level[to + block] = _level_of(highest, rows, best, block)


@njit(nogil=True, cache=True, boundscheck=False)
def _level_of(highest, rows, best, block):  # type: ignore[no-untyped-def]
    """Lowest level whose maxima, and those of the levels below it, hold the highest."""
    for k in range(NARROW):
        size = uint64(BLOCK >> k)
        for i in range(size):
            if rows[best[k] + block * size + i] == highest:
                return k
    return NARROW


@njit(nogil=True, cache=True, boundscheck=False)
def lay_out(tile: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Find places for the narrow levels of a group's rows and for the maxima of each.

    Returns
    -------
    place, best
        First element of each; the last entry is what follows.
    """
    place = np.zeros(NARROW + 2, np.uint64)
    best = np.zeros(NARROW + 2, np.uint64)
    for k in range(NARROW + 1):
        place[k + 1] = place[k] + uint64((GROUP * (_TAIL + tile) >> k) + BLOCK)
    best[0] = place[NARROW + 1]
    for k in range(NARROW + 1):
        best[k + 1] = best[k] + uint64((tile >> k) + BLOCK)
    return place, best


def row_room(task: Task) -> int:
    """Elements of `Room.rows`: narrow levels or wide ones, whichever take more."""
    nsums = (task.past + task.outputs) // 32
    return max(int(lay_out(task.tile)[1][-1]), (GROUP + 1) * nsums)


@njit(nogil=True, cache=True, boundscheck=False)
def screen_rows(code: Code, data: Data, task: Task, room: Room, out: Best) -> None:
    """Screen a run of rows: its tree tile by tile, boxcars up to 64 samples, sums of 32."""
    tail = uint64(_TAIL)
    place, best = lay_out(task.tile)
    nblocks, nsums = task.outputs // BLOCK, (task.past + task.outputs) // 32
    begin = 0
    while begin < task.past + task.outputs:
        until = task.past + (0 if begin < task.past else task.outputs)
        n = uint64(min(task.tile, until - begin))
        run_steps(code, data, room.parts, begin, task.tile - int(n))
        for group in range((code.roots.shape[0] + GROUP - 1) // GROUP):
            make_group(code, group, room, n)
            score_narrow(room, place, best, n, task.levels, begin >= task.past)
            if task.levels > NARROW:
                for r in range(GROUP):
                    of = uint64(r) * ((tail + n) >> uint64(NARROW + 1))
                    first = ((place[NARROW] + (tail >> uint64(NARROW))) >> _1) + of
                    to = uint64((group * GROUP + r) * nsums + begin // 32)
                    add_pairs(room.pairs, first, room.sums, to, n >> uint64(5))
            if begin >= task.past:
                to = uint64(group * nblocks + (begin - task.past) // BLOCK)
                block_maxima(room.rows, best, n, task.lowest, out, to)
        begin += int(n)


@njit(nogil=True, cache=True, boundscheck=False)
def screen_sums(ngroups: int, task: Task, room: Room, out: Best) -> None:
    """Screen the boxcars of more than 64 samples, made of sums of 32; better ones replace."""
    nsums = uint64((task.past + task.outputs) // 32)
    nblocks = task.outputs // BLOCK
    size = uint64(GROUP) * nsums
    for group in range(ngroups):
        here = uint64(group) * size
        past, n, stride = uint64(task.past // 32), uint64(task.outputs // 32), nsums
        _forget(room.rows, n)
        score_level(room.sums, here + past, stride, room.rows, uint64(0), n, True)
        _replace(room.rows, n, 5, group * nblocks, out)
        pairs, below, to = room.sum_pairs, here >> _1, n
        for k in range(6, task.levels + 1):
            past, n, stride = past >> _1, n >> _1, stride >> _1
            if k % 2:
                add_pairs(pairs, below, room.rows, to, uint64(GROUP) * stride)
            else:
                halve_pairs(pairs, below, room.rows, to, uint64(GROUP) * stride)
            _forget(room.rows, n)
            score_level(room.rows, to + past, stride, room.rows, uint64(0), n, k % 2 == 1)
            _replace(room.rows, n, k, group * nblocks, out)
            pairs, below, to = room.pairs, to >> _1, to + uint64(GROUP) * stride


@njit(boundscheck=False, forceinline=True)
def _forget(rows: Int16s, n: Place) -> None:
    for i in range(n):
        rows[i] = _LOWEST


@njit(boundscheck=False, forceinline=True)
def _replace(rows: Int16s, n: Place, k: int, block: int, out: Best) -> None:
    for i in range(n):
        to = block + (((i + 1) << k) - 1) // BLOCK
        value = rows[i]
        if value > out.score[to]:
            out.score[to] = value
            out.level[to] = k
