"""Candidates of other searches: found in the data, measured there, and merged.

The same pulse stands in a list several times: in blocks that overlap, in the lines of a plan
of DMs, as a side lobe. And our own search finds it, too. One detection comes of all of it,
which tells what it stands for.
"""

from .join import join
from .places import Observation, Place, named_data, observations, place, stretches

__all__ = [
    "Observation",
    "Place",
    "join",
    "named_data",
    "observations",
    "place",
    "stretches",
]
