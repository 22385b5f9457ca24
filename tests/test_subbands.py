"""Bursts that fill a part of the band are found there, and told as those of the whole band."""

from dataclasses import replace

import numpy as np
import pytest

from mlppa.clean import clean
from mlppa.config import Plan, SearchSettings
from mlppa.data import Block, Candidate, Classified, Detection, FilterbankHeader
from mlppa.decide import decide, least_in_parts
from mlppa.dispersion import delay_s
from mlppa.gulps import gulps
from mlppa.images import PARTS, STEPS, cut_images
from mlppa.search import search
from mlppa.search.cluster import TRIGGER
from mlppa.search.subbands import BOUNDS, MOST_COST, split, view
from mlppa.simulate import Interference, Pulse, Sky, SkySource, shape_pulse

from .messages import BUDGET
from .skies import found, kernel, plan_for, searched

HEADER = FilterbankHeader(
    nchans=256, fch1_mhz=1500.0, foff_mhz=-1.5, tsamp_s=512e-6, tstart_mjd=60000.0, nbits=8
)
SETTINGS = SearchSettings(dm_max=600.0, threshold=7.0, subbands=True)


def burst(low: float, high: float, dm: float, snr: float) -> Pulse:
    """Return a burst between two fractions of the band, of that S/N in that part alone."""
    f_lo, width = HEADER.f_lo_mhz, HEADER.f_hi_mhz - HEADER.f_lo_mhz
    return Pulse(
        time_s=2.0,
        dm=dm,
        width_ms=4.0,
        snr=snr * np.sqrt(high - low),
        f_lo_mhz=f_lo + low * width,
        f_hi_mhz=f_lo + high * width,
    )


def sky_with(*pulses: Pulse, header: FilterbankHeader = HEADER, seed: int = 1) -> Sky:
    return Sky(header=header, nsamples=round(5 / header.tsamp_s), pulses=pulses, seed=seed)


def edges_mhz(candidate: Candidate, header: FilterbankHeader) -> tuple[float, float]:
    freqs_mhz = header.freqs_mhz[slice(*(candidate.channels or (None,)))]
    return float(freqs_mhz.min()), float(freqs_mhz.max())


@pytest.mark.parametrize("foff_mhz", [-1.5, 1.5])
@pytest.mark.parametrize(("low", "high"), [(0.0, 0.3), (0.35, 0.65), (0.7, 1.0)])
@pytest.mark.parametrize("dm", [60.0, 500.0])
def test_a_burst_in_a_third_of_the_band_is_found(
    low: float, high: float, dm: float, foff_mhz: float
) -> None:
    """Its S/N there is far more than in all of the band."""
    fch1_mhz = HEADER.fch1_mhz if foff_mhz < 0 else HEADER.f_lo_mhz
    header = replace(HEADER, fch1_mhz=fch1_mhz, foff_mhz=foff_mhz)
    pulse = burst(low, high, dm, 20.0)
    sky = sky_with(pulse, header=header)
    whole = found(sky, SETTINGS.model_copy(update={"subbands": False}))
    (candidate,) = found(sky, SETTINGS)
    assert {one.channels for one in whole} == {None}
    assert candidate.channels is not None
    assert candidate.snr > 1.2 * max(one.snr for one in whole)
    assert pulse.f_lo_mhz is not None
    assert pulse.f_hi_mhz is not None
    f_lo, f_hi = edges_mhz(candidate, header)
    shared = min(f_hi, pulse.f_hi_mhz) - max(f_lo, pulse.f_lo_mhz)
    assert shared > 0.5 * (f_hi - f_lo)
    assert abs(candidate.dm - dm) < max(3.5 * candidate.dm_err, 5)
    plan = plan_for(header, SETTINGS).search
    # at the middle of the part, where its DM does not matter
    late = plan.shape[slice(*candidate.channels)].mean()
    sample = candidate.sample + late * candidate.dm / plan.unit_dm
    assert abs(sample - pulse.time_s / header.tsamp_s - late * dm / plan.unit_dm) < 12


@pytest.mark.parametrize("snr", [9.0, 30.0, 200.0])
@pytest.mark.parametrize("dm", [20.0, 400.0])
def test_a_burst_in_all_of_the_band_is_one_candidate_of_the_band(snr: float, dm: float) -> None:
    pulse = Pulse(time_s=2.0, dm=dm, width_ms=4.0, snr=snr)
    (candidate,) = found(sky_with(pulse), SETTINGS)
    assert candidate.channels is None
    assert candidate.snr == pytest.approx(snr, abs=1.5 + 0.1 * snr)


def test_a_bright_burst_in_a_part_is_one_candidate_of_that_part() -> None:
    (candidate,) = found(sky_with(burst(0.0, 0.25, 300.0, 60.0)), SETTINGS)
    assert candidate.channels is not None
    assert edges_mhz(candidate, HEADER)[0] == HEADER.f_lo_mhz
    assert candidate.snr == pytest.approx(60, rel=0.15)


def test_a_part_is_seen_as_if_there_were_no_more() -> None:
    pulse = burst(0.0, 0.25, 300.0, 40.0)
    *_, last = searched(SkySource(sky_with(pulse)).blocks(), HEADER, SETTINGS)
    items = searched(SkySource(sky_with(pulse)).blocks(), HEADER, SETTINGS)
    ((item, candidate),) = [(item, c) for item in items for c in item.candidates]
    plan = plan_for(HEADER, SETTINGS).search
    seen, history, part = view(candidate, item.history, plan)
    assert seen.channels is None
    assert (seen.dm, seen.snr) == (candidate.dm, candidate.snr)
    assert len(part.freqs_mhz) == len(history.gulps[0].good) < HEADER.nchans
    shape = shape_pulse(pulse, HEADER)
    top = int(np.argmax(part.freqs_mhz))
    assert candidate.channels is not None
    first = shape.first[candidate.channels[0] + top] + shape.profile.shape[1] / 2
    assert abs(seen.sample - first) < 8
    assert last.candidates == ()


def test_a_live_burst_in_the_top_of_the_band_waits_for_all_of_the_band() -> None:
    """Whether it goes on beside its part, off its track, has to be seen."""
    pulse = burst(0.75, 1.0, 500.0, 20.0)
    plan = Plan.make(SETTINGS, HEADER, 64, live=True)
    blocks = SkySource(sky_with(pulse)).blocks()
    cleaned = clean(gulps(blocks, plan.gulp), plan.room, plan.baseline)
    told = (item for item in search(cleaned, plan.search, kernel()) if item.candidates)
    item = next(told)
    (candidate,) = item.candidates
    assert candidate.channels is not None
    of_band = replace(candidate, channels=None)
    (batch,) = cut_images([replace(item, candidates=(of_band,))], plan.search)
    spectrum = batch.features[0, -PARTS * STEPS :].reshape(PARTS, STEPS)
    assert (np.abs(spectrum) > 0).mean() > 0.99, "nothing is yet to come"
    # but it waits for no more than that
    late_s = item.history.gulps[-1].stop * HEADER.tsamp_s - pulse.time_s - sweep_s(pulse.dm)
    assert late_s < plan.gulp * HEADER.tsamp_s + 1


def test_images_of_other_sizes_are_cut_in_parts_of_the_band_too() -> None:
    items = searched(SkySource(sky_with(burst(0.0, 0.25, 300.0, 40.0))).blocks(), HEADER, SETTINGS)
    (item,) = [item for item in items if item.candidates]
    (candidate,) = item.candidates
    assert candidate.channels is not None
    plan = plan_for(HEADER, SETTINGS).search.seen_by(32, 9.0)
    (batch,) = cut_images([item], plan)
    assert batch.images.shape == (1, 32, 32)
    assert {(one.res, one.threshold) for one in plan.plans} == {(32, 9.0)}


def test_peaks_of_a_part_are_told_as_those_of_the_band_and_back() -> None:
    for part in plan_for(HEADER, SETTINGS).search.subbands:
        peaks = np.ones(4, TRIGGER)
        peaks["sweep"], peaks["time"] = (3.0, 70.0, 500.0, 1000.0), (0.0, 5.0, 5000.0, 1e6)
        there = part.in_band(peaks)
        assert (there["sweep"] > peaks["sweep"]).all()
        for name in ("time", "sweep", "span", "width"):
            np.testing.assert_allclose(part.seen(there)[name], peaks[name], rtol=1e-6, atol=1e-3)


def test_the_parts_cover_the_band_whatever_its_order() -> None:
    for freqs_mhz in (HEADER.freqs_mhz, HEADER.freqs_mhz[::-1]):
        found_parts = split(freqs_mhz)
        assert len(found_parts) == len(BOUNDS)
        covered = np.zeros(len(freqs_mhz), int)
        for channels in found_parts[:4]:
            covered[channels] += 1
        assert (covered == 1).all()
    assert split(HEADER.freqs_mhz[:40]) == [slice(20, 40), slice(10, 30), slice(0, 20)]
    assert split(HEADER.freqs_mhz[:12]) == []


def test_parts_are_searched_at_half_a_millisecond_or_a_whole_one_where_that_costs_little() -> None:
    quality, fast = SETTINGS, SETTINGS.model_copy(update={"plan": "fast"})
    for settings, nchans, tsamp_s, octave in (
        (quality, 1024, 64e-6, 3),
        (fast, 1024, 64e-6, 4),
        (quality, 256, 512e-6, 1),
        (quality, 256, 5e-3, 1),
    ):
        header = replace(HEADER, nchans=nchans, foff_mhz=-384 / nchans, tsamp_s=tsamp_s)
        plan = Plan.make(settings, header, 64)
        assert {part.plan.octaves[0].index for part in plan.search.subbands} == {octave}
        assert len(plan.search.halos) > octave
        whole, *parts = (
            sum(len(o.sweeps) / 2**o.index for o in one.octaves) for one in plan.search.plans
        )
        assert sum(parts) <= MOST_COST * whole
        described = plan.describe()["subbands"]
        assert isinstance(described, list)
        assert len(described) == len(BOUNDS)


def sweep_s(dm: float) -> float:
    return float(delay_s(dm, HEADER.f_lo_mhz, HEADER.f_hi_mhz))


@pytest.mark.parametrize("dm", [20.0, 120.0, 500.0])
@pytest.mark.parametrize("snr", [12.0, 40.0])
def test_a_burst_that_the_end_cuts_off_is_found(dm: float, snr: float) -> None:
    """A fifth of its sweep never came."""
    sky = sky_with(Pulse(time_s=2.0, dm=dm, width_ms=4.0, snr=snr))
    sky = replace(sky, nsamples=round((2.0 + 0.8 * sweep_s(dm)) / HEADER.tsamp_s))
    (candidate,) = found(sky, SETTINGS)
    assert candidate.sample * HEADER.tsamp_s == pytest.approx(2.0, abs=0.004)
    assert candidate.dm == pytest.approx(dm, abs=max(4 * candidate.dm_err, 2))


@pytest.mark.parametrize("hole_s", [0.5, 15.0])
def test_a_burst_that_a_hole_cuts_off_is_found(hole_s: float) -> None:
    """Whether the hole swallows whole gulps or not."""
    sky = sky_with(Pulse(time_s=2.0, dm=500.0, width_ms=4.0, snr=30.0))
    sky = replace(sky, nsamples=round(20 / HEADER.tsamp_s))
    spectra = np.concatenate([block.spectra for block in SkySource(sky).blocks()])
    first = round((2.0 + 0.8 * sweep_s(500.0)) / HEADER.tsamp_s)
    behind = first + round(hole_s / HEADER.tsamp_s)
    items = list(
        searched([Block(0, spectra[:first]), Block(behind, spectra[behind:])], HEADER, SETTINGS)
    )
    (candidate,) = [c for item in items for c in item.candidates]
    assert candidate.sample * HEADER.tsamp_s == pytest.approx(2.0, abs=0.004)
    # nothing is told twice, nor left out
    told = [item.coverage for item in items]
    assert [one.stop for one in told[:-1]] == [one.start for one in told[1:]]
    assert sum(one.searched + one.masked + one.missing for one in told) == len(spectra)
    assert [one.decided_to for one in told] == sorted(one.decided_to for one in told)


def judged(sky: Sky, probability: float, min_probability: float) -> list[Detection]:
    """Decide as if a network were as sure as that of everything."""
    plan = plan_for(HEADER, SETTINGS).search
    batches = cut_images(searched(SkySource(sky).blocks(), HEADER, SETTINGS), plan)
    certain = (
        Classified(one, np.full(len(one.images), probability, np.float32), BUDGET)
        for one in batches
    )
    reports = decide(certain, plan, min_probability, pictures=False)
    return [detection for report in reports for detection in report.detections]


def test_a_chirp_is_no_pulse_in_a_part_of_the_band() -> None:
    """It is as straight there, and goes on beside it where no pulse would."""
    chirp = Interference("chirp", 2.0, 2.4, 3.0, 1116.0, 1500.0, width_ms=4.0)
    told = judged(replace(sky_with(), interference=(chirp,)), 1.0, 0.5)
    parts = [one for one in told if one.candidate.channels is not None]
    assert parts
    assert {(one.label, (one.reason or "").split(":")[0]) for one in parts} == {("rfi", "chirp")}


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.3), (0.35, 0.65), (0.7, 1.0)])
def test_a_burst_in_a_part_of_the_band_is_a_pulse_if_the_network_is_sure(
    low: float, high: float
) -> None:
    sky = sky_with(burst(low, high, 300.0, 20.0))
    assert [one.label for one in judged(sky, 0.97, 0.5)] == ["pulse"]
    (doubtful,) = judged(sky, 0.95, 0.5)
    assert doubtful.candidate.channels is not None
    assert doubtful.reason == "network: probability 0.950 < 0.968"
    assert [least_in_parts(p) for p in (0.0, 1.0)] == [0.0, 1.0]
