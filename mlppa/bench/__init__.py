"""How fast this machine is: the whole search, and the networks."""

from .dt import DtTiming, Load, time_dt, untrained_family
from .search import CASES, Case, Runs, Timing, Way, make_data, time_searches

__all__ = [
    "CASES",
    "Case",
    "DtTiming",
    "Load",
    "Runs",
    "Timing",
    "Way",
    "make_data",
    "time_dt",
    "time_searches",
    "untrained_family",
]
