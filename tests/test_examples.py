"""Labels from the truth, images from the live path; and what the default model makes of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlppa.classify import Classifier, load_model
from mlppa.config import ClassifySettings, Plan, SearchSettings
from mlppa.data import Candidate, FilterbankHeader
from mlppa.dedisperse.engine import Engine
from mlppa.images import FEATURES
from mlppa.simulate import Interference, Pulse, Sky, SkySource
from mlppa.sources import Source, open_source
from mlppa.training.examples import (
    Examples,
    _kind,
    _overshone,
    live_images,
    match,
    sky_examples,
)
from mlppa.training.skies import Drawn

HEADER = FilterbankHeader(
    nchans=64, fch1_mhz=1500.0, foff_mhz=-4.0, tsamp_s=1e-3, tstart_mjd=60000.0, nbits=8
)
PLAN = Plan.make(SearchSettings(dm_max=800, threshold=6.0, threads=1), HEADER, 64)
NOBODY = SkySource(Sky(header=HEADER, nsamples=0))
BRIGHT = Pulse(time_s=6.0, dm=300.0, width_ms=8.0, snr=40.0)
FAINT = Pulse(time_s=11.0, dm=500.0, width_ms=4.0, snr=20.0)


def candidate(pulse: Pulse, snr: float, later: float = 0.0, sweep: float = 0.0) -> Candidate:
    """A candidate at a pulse, off by so many samples of time (mean delay) and of sweep."""
    dm = pulse.dm + sweep * PLAN.search.unit_dm
    sample = pulse.time_s / HEADER.tsamp_s + later - PLAN.search.mean_shape * sweep
    return Candidate(
        sample=sample, dm=dm, dm_err=1.0, width_samples=8, snr=snr, snr_zero_dm=1.0, octave=1
    )


def labels_of(candidates: Sequence[Candidate], pulses: tuple[Pulse, ...]) -> list[str]:
    matched = match(candidates, pulses, PLAN)
    return [
        "pulse" if label else "other" if sure else "unsure"
        for label, sure in zip(matched.labels, matched.sure, strict=True)
    ]


def test_each_pulse_has_one_candidate_and_its_neighbours_are_left_out() -> None:
    here = candidate(BRIGHT, 38.0)
    weaker = candidate(BRIGHT, 12.0, later=2.0)
    wing = candidate(BRIGHT, 15.0, later=10.0, sweep=60.0)
    far_in_time = candidate(BRIGHT, 15.0, later=900.0)
    far_in_dm = candidate(BRIGHT, 15.0, sweep=400.0)
    everything = [weaker, here, wing, far_in_time, far_in_dm]
    expected = ["unsure", "pulse", "unsure", "other", "other"]
    assert labels_of(everything, (BRIGHT,)) == expected


def test_wings_of_a_narrow_band_pulse_reach_farther() -> None:
    # in a fifth of the band its delay differs by a seventh of what it does in all of it
    narrow = replace(BRIGHT, f_lo_mhz=1450.0, f_hi_mhz=1500.0)
    wing = candidate(narrow, 15.0, sweep=1000.0)
    assert labels_of([wing], (narrow,)) == ["unsure"]
    assert labels_of([wing], (BRIGHT,)) == ["other"]


def test_parts_of_a_burst_in_one_boxcar_shine_together() -> None:
    first = Pulse(time_s=6.0, dm=300.0, width_ms=8.0, snr=20.0, fwhm_mhz=120.0, centre_mhz=1450.0)
    later = replace(first, time_s=6.012, snr=18.0)
    sky = Drawn(NOBODY, PLAN, (first, later))
    together = replace(candidate(first, 31.0), width_samples=24)
    assert not _overshone(together, first, sky)
    assert _overshone(together, first, replace(sky, pulses=(first,)))
    assert _overshone(replace(together, snr=60.0), first, sky)


def test_what_a_candidate_lies_on_is_the_shortest_there() -> None:
    level = Interference("swing", 5.0, 7.0, level=1.0)
    burst = Interference("burst", 6.3, 6.31, level=9.0)
    far = Interference("burst", 1.0, 1.01, level=9.0)
    dead = Interference("dead", f_lo_mhz=1300.0, f_hi_mhz=1310.0)
    sky = Drawn(NOBODY, PLAN, (), (level, burst, far, dead))
    assert _kind(candidate(BRIGHT, 9.0), sky) == "burst"
    assert _kind(candidate(BRIGHT, 9.0), replace(sky, interference=(level, dead))) == "swing"
    assert _kind(candidate(BRIGHT, 9.0), replace(sky, interference=(far, dead))) == "noise"


def test_a_burst_at_dm_0_is_not_a_wide_pulse_of_low_dm() -> None:
    wide = Pulse(time_s=6.0, dm=30.0, width_ms=20.0, snr=40.0)
    sweep = wide.dm / PLAN.search.unit_dm
    assert labels_of([candidate(wide, 38.0, sweep=-sweep)], (wide,)) == ["unsure"]
    assert labels_of([candidate(wide, 38.0, sweep=-0.2 * sweep)], (wide,)) == ["pulse"]


def test_two_pulses_cannot_share_a_candidate() -> None:
    twin = replace(BRIGHT, time_s=BRIGHT.time_s + 0.004, snr=20.0)
    matched = match([candidate(BRIGHT, 40.0)], (twin, BRIGHT), PLAN)
    assert matched.pulses == [BRIGHT]


def test_wings_of_a_bright_pulse_reach_farther() -> None:
    far = candidate(BRIGHT, 8.0, sweep=350.0)
    assert labels_of([far], (BRIGHT,)) == ["other"]
    assert labels_of([far], (replace(BRIGHT, snr=400.0),)) == ["unsure"]


@pytest.fixture(scope="module")
def searched() -> Examples:
    burst = Interference("burst", 8.0, 8.02, level=2.0)
    sky = Sky(header=HEADER, nsamples=16384, pulses=(BRIGHT, FAINT), interference=(burst,), seed=3)
    drawn = Drawn(SkySource(sky), PLAN, sky.pulses, sky.interference)
    return sky_examples(drawn, Engine(1), number=7)


def test_images_of_a_simulated_sky_show_its_pulses_in_the_middle(searched: Examples) -> None:
    assert searched.labels.sum() == 2
    assert set(searched.skies.tolist()) == {7}
    pulses = searched.images[searched.labels]
    for image in pulses:
        assert 32 in (row for row, _ in np.argwhere(image > 0.9 * image.max()))
        assert image[31:34, 31:34].mean() > 5 * np.abs(image).mean()
    snrs = searched.snrs[searched.labels]
    np.testing.assert_allclose(snrs, [BRIGHT.snr, FAINT.snr], rtol=0.15)


def test_a_burst_without_dispersion_is_an_example_of_interference(searched: Examples) -> None:
    others = searched.features[~searched.labels]
    assert len(others) >= 1
    sweep_px, ratio = FEATURES.index("log2_sweep_px"), FEATURES.index("snr_zero_dm_ratio")
    assert (others[:, sweep_px] < 3).any()
    assert others[:, ratio].max() > 0.9
    assert (searched.features[searched.labels, ratio] < 0.7).all()


@pytest.fixture(scope="module")
def spine() -> Classifier:
    """The model that comes with the program."""
    return load_model(ClassifySettings().model, device="cpu")


def probabilities(
    source: Source, plan: Plan, classifier: Classifier
) -> list[tuple[Candidate, float]]:
    pieces = live_images(source, plan, Engine(1))
    return [
        (candidate, float(p))
        for piece in pieces
        for candidate, p in zip(
            piece.searched.candidates, classifier(piece.images, piece.features), strict=True
        )
    ]


def test_the_model_tells_pulses_from_interference(spine: Classifier) -> None:
    pulses = [
        Pulse(time_s=1.5 * n, dm=100.0 + 80 * n, width_ms=2.0 * n, snr=15.0) for n in range(1, 9)
    ]
    bursts = [Interference("burst", 2.2 + 1.5 * n, 2.22 + 1.5 * n, level=1.0) for n in range(8)]
    carrier = Interference("pulsed", 0, 15, 8.0, 1400, 1403, period_s=0.3, width_ms=15.0)
    sky = Sky(
        header=HEADER,
        nsamples=16384,
        pulses=tuple(pulses),
        interference=(*bursts, carrier),
        seed=12,
    )
    said = probabilities(SkySource(sky), PLAN, spine)
    matched = match([c for c, _ in said], sky.pulses, PLAN)
    labels = matched.labels
    assert set(matched.pulses) >= set(pulses)
    assert all(p > 0.5 for (_, p), label in zip(said, labels, strict=True) if label)
    sure = matched.sure & ~labels
    others = [(c.snr, p) for (c, p), other in zip(said, sure, strict=True) if other]
    assert len(others) >= 8
    assert all(p < 0.5 for snr, p in others if snr >= 8)
    # Faint streaks of a narrow-band signal can look like a pulse: few of them may.
    assert np.mean([p > 0.5 for _, p in others]) < 0.1


def test_the_model_knows_a_real_burst(spine: Classifier, shared_data: Path) -> None:
    source = open_source([str(shared_data / "real" / "FRB20180417A_askap_beam28.fil")])
    plan = Plan.make(SearchSettings(threads=1), source.header, 64)
    said = probabilities(source, plan, spine)
    [probability] = [p for c, p in said if abs(c.dm - 475) < 5 and c.snr > 12]
    assert probability > 0.9
