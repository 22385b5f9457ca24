"""Peaks are grouped as if every one were compared with every leader, and quickly."""

from time import perf_counter

import numpy as np
import pytest

from mlppa.search.cluster import TRIGGER, Triggers, in_bowtie, owners


def plain_owners(triggers: Triggers) -> list[int]:
    """Compare all peaks that are left with one leader after the other."""
    owner = np.full(len(triggers), -1)
    for leader in np.lexsort((triggers["sweep"], triggers["time"], -triggers["snr"])):
        if owner[leader] < 0:
            wings = (owner < 0) & in_bowtie(triggers, triggers[leader])
            owner[wings] = leader
            owner[leader] = leader
    return owner.tolist()


def crowd(rng: np.random.Generator, npeaks: int, span: float, brightest: float) -> Triggers:
    """Peaks everywhere, as a screen may give them; few values of S/N, so that many are equal."""
    peaks = np.empty(npeaks, TRIGGER)
    octave = rng.integers(0, 5, npeaks)
    level = rng.integers(0, 7, npeaks)
    peaks["time"] = rng.uniform(-1000, span, npeaks).round(1)
    peaks["sweep"] = rng.integers(0, 4096, npeaks) << octave
    peaks["width"] = np.where(level == 0, 2, 7 * 2**level // 2) << octave
    peaks["slack"] = 64 << octave
    peaks["span"] = 4 << octave
    peaks["snr"] = (5.5 * brightest ** rng.uniform(0, 1, npeaks) ** 3).round(1)
    return peaks


@pytest.mark.parametrize("npeaks", [0, 1, 2, 50, 3000])
@pytest.mark.parametrize("brightest", [1.2, 5.0, 100.0])
def test_groups_are_those_of_comparing_all_with_all(npeaks: int, brightest: float) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        peaks = crowd(rng, npeaks, float(rng.choice([100, 3000, 60000])), brightest)
        assert owners(peaks).tolist() == plain_owners(peaks)


def test_groups_do_not_depend_on_the_order_of_peaks() -> None:
    rng = np.random.default_rng(1)
    peaks = np.unique(crowd(rng, 2000, 5000, 20.0))
    shuffled = rng.permutation(len(peaks))
    there = owners(peaks[shuffled])
    assert (shuffled[there] == owners(peaks)[shuffled]).all()


@pytest.mark.parametrize("brightest", [1.3, 60.0])
def test_a_million_peaks_are_grouped_in_a_second(brightest: float) -> None:
    peaks = crowd(np.random.default_rng(1), 1_000_000, 33_000, brightest)
    owners(peaks[:10])
    began = perf_counter()
    owner = owners(peaks)
    took_s = perf_counter() - began
    assert len(np.unique(owner)) > 100
    assert took_s < 4, "about half a second on a machine of its own"
