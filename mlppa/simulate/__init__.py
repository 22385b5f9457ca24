"""Simulated observations: pulses and interference in noise, with the truth known."""

from .files import Truth, read_truth, truth_path, write_filterbank
from .interference import Interference, Kind, random_interference
from .match import Found, claim, match
from .pulse import Pulse, PulseShape, reach, shape_pulse
from .sky import Population, Sky, SkySource, blocks, random_sky, shapes_bytes

__all__ = [
    "Found",
    "Interference",
    "Kind",
    "Population",
    "Pulse",
    "PulseShape",
    "Sky",
    "SkySource",
    "Truth",
    "blocks",
    "claim",
    "match",
    "random_interference",
    "random_sky",
    "reach",
    "read_truth",
    "shape_pulse",
    "shapes_bytes",
    "truth_path",
    "write_filterbank",
]
