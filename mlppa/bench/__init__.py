"""How fast this machine is: the whole search, and the networks."""

from .dt import STORM_PER_S, DtTiming, Load, draw_dt, leads, time_dt, untrained_family
from .search import CASES, Case, Runs, Timing, Way, make_data, time_searches

__all__ = [
    "CASES",
    "STORM_PER_S",
    "Case",
    "DtTiming",
    "Load",
    "Runs",
    "Timing",
    "Way",
    "draw_dt",
    "leads",
    "make_data",
    "time_dt",
    "time_searches",
    "untrained_family",
]
