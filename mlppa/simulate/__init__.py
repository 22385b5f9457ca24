"""Simulated observations: pulses and interference in noise, with the truth known."""

from .files import Truth, read_truth, truth_path, write_filterbank
from .interference import Interference, random_interference
from .pulse import Pulse, PulseShape, reach, shape_pulse
from .sky import Population, Sky, SkySource, blocks, random_sky

__all__ = [
    "Interference",
    "Population",
    "Pulse",
    "PulseShape",
    "Sky",
    "SkySource",
    "Truth",
    "blocks",
    "random_interference",
    "random_sky",
    "reach",
    "read_truth",
    "shape_pulse",
    "truth_path",
    "write_filterbank",
]
