"""Simulated observations: pulses and interference in noise, with the truth known."""

from .files import Truth, read_truth, truth_path, write_filterbank
from .hybrid import HybridSource
from .interference import Interference, Kind, Mixture, random_interference
from .match import Found, claim, match
from .pulse import Pulse, PulseShape, band_share, reach, shape_pulse
from .sky import L_BAND, Population, Sky, SkySource, blocks, random_sky, shapes_bytes

__all__ = [
    "L_BAND",
    "Found",
    "HybridSource",
    "Interference",
    "Kind",
    "Mixture",
    "Population",
    "Pulse",
    "PulseShape",
    "Sky",
    "SkySource",
    "Truth",
    "band_share",
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
