"""Shares of a few trials, and where they may lie."""

import math


def wilson(hits: int, of: int, sigma: float) -> tuple[float, float]:
    """Give the score interval of a share (Wilson 1927, J. Am. Stat. Assoc. 22, 209).

    Parameters
    ----------
    hits, of
        The share is ``hits / of``; of nothing it may be anything.
    sigma
        Half width in standard deviations: 1.96 for 95 %.
    """
    if not of:
        return 0.0, 1.0
    share, spread = hits / of, sigma * sigma / of
    middle = (share + spread / 2) / (1 + spread)
    half = sigma / (1 + spread) * math.sqrt(share * (1 - share) / of + spread / of / 4)
    return max(middle - half, 0.0), min(middle + half, 1.0)
