"""What is at DM 0 is told from pulses of low DM, by the search's own measurements."""

from functools import cache

import numpy as np
import pytest

from mlppa.config import SearchSettings
from mlppa.data import Candidate, FilterbankHeader
from mlppa.decide import rejection
from mlppa.simulate import Pulse, Sky

from .skies import found, plan_for

#: A wide band, and one where a DM of 30 is hard to tell from 0.
BANDS = {
    "wide": FilterbankHeader(
        nchans=128, fch1_mhz=1500.0, foff_mhz=-3.0, tsamp_s=256e-6, tstart_mjd=6e4, nbits=32
    ),
    "narrow": FilterbankHeader(
        nchans=64, fch1_mhz=1500.0, foff_mhz=-1.0, tsamp_s=256e-6, tstart_mjd=6e4, nbits=32
    ),
}
SETTINGS = SearchSettings(dm_max=300.0, threshold=6.5)
WIDTHS = (1, 2, 4, 8, 16, 32, 64)


@cache
def verdicts(band: str, dm: float, snr: float, width: int = 0, bright_half: bool = False) -> float:
    """Part of the bursts found that are rejected; of all widths if none is given."""
    header, rng = BANDS[band], np.random.default_rng(3)
    pulses = tuple(
        Pulse(
            time_s=0.8 + 0.7 * i,
            dm=dm,
            width_ms=(width or WIDTHS[i % len(WIDTHS)]) * header.tsamp_s * 1e3,
            snr=snr,
            spectral_index=float(rng.choice([-3, 0, 3])),
            f_lo_mhz=header.freqs_mhz.mean() if bright_half and i % 2 else None,
        )
        for i in range(42)
    )
    nsamples = round(31 / header.tsamp_s)
    plan = plan_for(header, SETTINGS).search
    strongest: dict[int, Candidate] = {}
    for c in found(Sky(header=header, nsamples=nsamples, pulses=pulses, seed=7), SETTINGS):
        slot = round((c.sample * header.tsamp_s - 0.8) / 0.7)
        if slot not in strongest or c.snr > strongest[slot].snr:
            strongest[slot] = c
    assert len(strongest) > 15
    reasons = [rejection(c, plan, 1.0, 0.5) for c in strongest.values()]
    assert all(reason is None or reason.startswith("zero-dm") for reason in reasons)
    return float(np.mean([reason is not None for reason in reasons]))


@pytest.mark.parametrize("band", BANDS)
@pytest.mark.parametrize("bright_half", [False, True])
def test_bursts_at_dm_0_are_rejected(band: str, bright_half: bool) -> None:
    """Whatever their width and spectrum, in the whole band or in half of it."""
    faint, *others = (
        verdicts(band, 0.0, snr, bright_half=bright_half) for snr in (8.0, 12.0, 20.0, 50.0, 300.0)
    )
    assert faint > (0.7 if bright_half else 0.85)
    assert min(others) > 0.8, "of 42 bursts each"
    assert np.mean(others) > (0.87 if bright_half else 0.95)


@pytest.mark.parametrize(
    ("band", "dm", "snr", "width", "most"),
    [
        ("wide", 5.0, 12.0, 4, 0.1),
        ("wide", 10.0, 300.0, 64, 0.02),
        ("wide", 30.0, 8.0, 32, 0.1),
        ("narrow", 50.0, 10.0, 16, 0.1),
        ("narrow", 30.0, 10.0, 16, 0.35),  # its sweep is about its width
        ("narrow", 30.0, 50.0, 31, 0.05),
    ],
)
def test_pulses_of_low_dm_are_kept(
    band: str, dm: float, snr: float, width: int, most: float
) -> None:
    assert verdicts(band, dm, snr, width) <= most
