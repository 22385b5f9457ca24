"""The boxcars of a screen, in integers, as every kernel has to compute them.

Level 0 is a row itself; level k sums pairs of level k - 1 and so has samples of 2**k.
To stay in 16 bits, even levels are halved: level k holds sums divided by 2**(k // 2).
Boxcars take 1, 2, 3 or 4 samples of level 0, and 3 or 4 of every other level; those of
level k end on multiples of 2**k. A score is half the sum over the root of the width.
"""

import numpy as np
from numpy.typing import NDArray

#: 2**15 / sqrt(m) for m samples, of even levels; odd ones are not halved enough by sqrt(2).
WEIGHTS = {m: int(32768 / np.sqrt(m)) for m in (1, 2, 3, 4)}
ODD_WEIGHTS = {m: int(32768 / np.sqrt(2 * m)) for m in (3, 4)}

#: A score times this is the boxcar sum over the root of its width.
SCORE_COUNTS = 2.0


def scores(row: NDArray[np.int32], levels: int, outputs: int) -> NDArray[np.int32]:
    """Score the boxcars of one row.

    Parameters
    ----------
    row
        Dedispersed samples: past ones, then ``outputs``, which all levels divide.

    Returns
    -------
    scores
        Best of each level among the boxcars that end on an output, shape
        (levels + 1, outputs); where none of a level ends it is the lowest int16.
    """
    best = np.full((levels + 1, outputs), -32768, np.int32)
    level = saturate(row)
    for k in range(levels + 1):
        if k:
            pairs = level[len(level) % 2 :: 2] + level[len(level) % 2 + 1 :: 2]
            level = saturate(pairs) if k % 2 else (pairs + 1) >> 1
        ends = outputs >> k
        found = [
            (_sums(level, m, ends) * (ODD_WEIGHTS if k % 2 else WEIGHTS)[m]) >> 16
            for m in ((1, 2, 3, 4) if k == 0 else (3, 4))
        ]
        best[k, 2**k - 1 :: 2**k] = np.max(found, axis=0)
    return best


def saturate(values: NDArray[np.int32]) -> NDArray[np.int32]:
    """Keep values within 16 bits."""
    return np.clip(values, -32768, 32767)


def _sums(level: NDArray[np.int32], m: int, ends: int) -> NDArray[np.int32]:
    """Sum m samples up to each of the last ``ends`` ones, saturating one by one."""
    first = len(level) - ends
    total = level[first:]
    for back in range(1, m):
        total = saturate(total + level[first - back : len(level) - back])
    return total
