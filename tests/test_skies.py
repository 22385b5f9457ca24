"""Skies to train on: any telescope, kept apart from those to measure on; recordings too."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from mlppa.config import Plan, SearchSettings, SettingError
from mlppa.data import FilterbankHeader
from mlppa.dedisperse.engine import Engine
from mlppa.dispersion import delay_s
from mlppa.errors import InputError
from mlppa.simulate import (
    HybridSource,
    Interference,
    Kind,
    Mixture,
    Pulse,
    Sky,
    SkySource,
    random_interference,
    write_filterbank,
)
from mlppa.simulate.interference import bend
from mlppa.training import skies
from mlppa.training.examples import FACTS, random_examples, sky_examples
from mlppa.training.skies import UNSEEN_MHZ, Draw, Drawn, draw_sky, random_plan, training_sky

from .calling import Call

DRAW = Draw(seed=1, number=2, res=32, threshold=6.0)
HEADER = FilterbankHeader(
    nchans=64, fch1_mhz=1500.0, foff_mhz=-4.0, tsamp_s=1e-3, tstart_mjd=60000.0, nbits=8
)


def middle_mhz(header: FilterbankHeader) -> float:
    return (header.f_lo_mhz + header.f_hi_mhz) / 2


def is_unseen(header: FilterbankHeader) -> bool:
    return any(low <= middle_mhz(header) <= high for low, high in UNSEEN_MHZ)


def test_telescopes_are_of_every_kind_and_those_to_measure_on_are_others() -> None:
    depths, orders, seen, unseen = set(), set(), set(), set()
    for number in range(40):
        plan = random_plan(np.random.default_rng(number), DRAW)
        header = plan.header
        assert 80 < header.f_lo_mhz < header.f_hi_mhz < 7000
        assert plan.gulp <= skies.SKY_SAMPLES
        assert not is_unseen(header)
        depths.add(header.nbits)
        orders.add(header.foff_mhz > 0)
        seen.add(header.nchans)
        other = random_plan(np.random.default_rng(number), replace(DRAW, unseen=True)).header
        assert is_unseen(other)
        unseen.add(other.nchans)
    assert depths == {1, 2, 4, 8, 16, 32}
    assert orders == {True, False}
    assert not seen & unseen


def shares(header: FilterbankHeader, items: Iterable[Interference]) -> set[float]:
    """Parts of the band that items fill, but for those that fill all of it."""
    band_mhz = header.f_hi_mhz - header.f_lo_mhz
    return {
        round((item.f_hi_mhz - item.f_lo_mhz) / band_mhz, 3)
        for item in items
        if item.f_lo_mhz is not None and item.f_hi_mhz is not None
    }


def test_interference_to_measure_on_is_not_trained_on() -> None:
    plan = random_plan(np.random.default_rng(0), DRAW)
    seen, unseen = (
        [
            item
            for n in range(60)
            for item in training_sky(plan, np.random.default_rng(n), draw).interference
        ]
        for draw in (DRAW, replace(DRAW, unseen=True))
    )

    def of(items: list[Interference], kind: str) -> list[Interference]:
        return [item for item in items if item.kind == kind]

    for kind in ("burst", "radar"):
        shown, others = (shares(plan.header, of(items, kind)) for items in (seen, unseen))
        assert len(shown) > 1
        assert len(others) == 1
        assert not shown & others
    laws, other_laws = ({item.law for item in of(items, "chirp")} for items in (seen, unseen))
    assert len(laws) > 1
    assert not laws & other_laws
    for kind in ("pulsed", "radar"):
        assert max(item.period_s for item in of(seen, kind)) <= min(
            item.period_s for item in of(unseen, kind)
        )


def test_a_sky_has_pulses_of_every_sort_and_interference_of_every_kind() -> None:
    plan = random_plan(np.random.default_rng(0), DRAW)
    drawn = [training_sky(plan, np.random.default_rng(n), DRAW) for n in range(30)]
    kinds = {item.kind for sky in drawn for item in sky.interference}
    assert kinds == set(get_args(Kind.__value__))
    pulses = [pulse for sky in drawn for pulse in sky.pulses]
    assert all(len(sky.pulses) >= skies.SKY_PULSES for sky in drawn)
    for sort in ("f_lo_mhz", "fwhm_mhz", "scintle_mhz"):
        assert 0.02 < np.mean([getattr(pulse, sort) is not None for pulse in pulses]) < 0.5
    assert 0.1 < np.mean([pulse.scatter_ms > 0 for pulse in pulses]) < 0.3
    sweeps = np.array([pulse.dm for pulse in pulses]) / plan.search.unit_dm
    assert sweeps.max() <= plan.search.max_sweep + 1


def test_parts_of_a_burst_drift_down_and_come_later() -> None:
    plan = random_plan(np.random.default_rng(0), DRAW)
    bursts = [skies._burst(plan, np.random.default_rng(n), 3) for n in range(100)]
    drifting = [burst for burst in bursts if len(burst) > 1]
    assert drifting
    for burst in drifting:
        centres = [part.centre_mhz for part in burst]
        times = [part.time_s for part in burst]
        assert centres == sorted(centres, key=lambda mhz: -(mhz or 0))
        assert times == sorted(times)
        assert len({part.dm for part in burst}) == 1


def test_the_same_draw_gives_the_same_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skies, "SKY_SAMPLES", 8192)
    monkeypatch.setattr(skies, "SKY_PULSES", 4)
    one, two = (random_examples(DRAW, Engine(1)) for _ in range(2))
    assert len(one.labels) > 0
    np.testing.assert_array_equal(one.images, two.images)
    for name in FACTS.names or ():
        np.testing.assert_array_equal(one.facts[name], two.facts[name])


def test_parts_of_the_band_are_searched_and_labelled_as_all_of_it_is() -> None:
    """Bright pulses shine in parts, too: their wings there are nothing to learn from."""
    at = replace(DRAW, parts=True)
    labelled = others = 0
    for number in range(6):
        drawn = draw_sky(replace(at, number=number))
        if not drawn.plan.search.subbands:
            continue
        sky = Sky(header=drawn.plan.header, nsamples=32768, pulses=drawn.pulses, seed=number)
        found = sky_examples(replace(drawn, source=SkySource(sky), interference=()), Engine(1), 0)
        part = found.facts["part"] < 1
        labelled += int((found.labels & part).sum())
        others += int((~found.labels & part & (found.snrs > 7.5)).sum())
        edges = found.facts["f_hi_mhz"] - found.facts["f_lo_mhz"]
        whole = drawn.plan.header.f_hi_mhz - drawn.plan.header.f_lo_mhz
        assert (edges[part] < 0.8 * whole).all()
        assert edges[~part] == pytest.approx(whole)
    assert labelled >= 6
    assert others == 0, "without interference there is nothing else so bright"


@pytest.mark.parametrize("snr", [7.0, 12.0, 20.0])
def test_bright_pulses_in_a_part_of_the_band_are_pulses(snr: float) -> None:
    """There they are brighter by far than in all of the band, which their S/N is told for."""
    header = replace(HEADER, nchans=256, foff_mhz=-1.0)
    settings = SearchSettings(dm_max=500.0, width_max_ms=60.0, threads=1)
    plan = Plan.make(settings, header, 32)
    pulses = tuple(
        Pulse(1 + 2.0 * n, dm=60.0 + 20 * n, width_ms=6.0, snr=snr, f_lo_mhz=low, f_hi_mhz=low + 45)
        for n, low in enumerate(np.linspace(1250, 1450, 14).tolist())
    )
    source = SkySource(Sky(header=header, nsamples=32768, pulses=pulses, seed=1))
    found = sky_examples(Drawn(source, plan, pulses), Engine(1), 0)
    assert found.labels.sum() == len(pulses)
    assert (found.facts["part"][found.labels] < 1).sum() > len(pulses) // 2


def test_narrow_pulses_are_put_where_parts_are_searched() -> None:
    plans = (random_plan(np.random.default_rng(2), replace(DRAW, parts=on)) for on in (True, False))
    shares = []
    for plan in plans:
        bursts = [skies._burst(plan, np.random.default_rng(n), 3) for n in range(300)]
        narrow = [
            pulse.f_hi_mhz - pulse.f_lo_mhz < 0.3 * (plan.header.f_hi_mhz - plan.header.f_lo_mhz)
            for burst in bursts
            for pulse in burst
            if pulse.f_hi_mhz is not None and pulse.f_lo_mhz is not None
        ]
        shares.append(sum(narrow) / 300)
    assert shares[0] > 0.04 > shares[1]


def test_chirps_of_other_laws_bend_as_far_and_saturation_is_drawn() -> None:
    mixture = Mixture(laws=(-0.5, 2.0), saturates=True)
    rng = np.random.default_rng(1)
    items = [i for _ in range(20) for i in random_interference(HEADER, 10.0, rng, mixture)]
    chirps = [item for item in items if item.kind == "chirp"]
    assert {item.law for item in chirps} == {-0.5, 2.0}
    for item in chirps:
        off_s = bend(HEADER, item.law) * (item.stop_s - item.start_s)
        assert off_s >= 4.99 * item.width_ms / 1e3
    assert max(item.level for item in items if item.kind == "burst") > 10
    assert bend(HEADER, -2.0) < 1e-9 < bend(HEADER, -0.5) < bend(HEADER)


@pytest.mark.parametrize("nbits", [2, 8, 32])
def test_pulses_put_into_a_recording_keep_their_snr(nbits: int) -> None:
    header = replace(HEADER, nbits=nbits)
    pulse = Pulse(time_s=2.0, dm=100.0, width_ms=6.0, snr=20.0)
    rng = np.random.default_rng(4)
    noise = np.round(rng.normal(1.5 if nbits == 2 else 96, 1 if nbits == 2 else 16, (6000, 64)))
    recorded = noise.clip(0, 2 ** min(nbits, 8) - 1).astype(np.uint8 if nbits < 32 else np.float32)
    mixed = np.concatenate(
        [block.spectra for block in HybridSource(header, recorded, [pulse], 1000).blocks()]
    )
    assert mixed.dtype == recorded.dtype
    added = mixed.astype(float) - recorded
    assert added.any()
    assert not added[:1500].any()
    delays = np.rint(delay_s(pulse.dm, header.freqs_mhz, header.f_hi_mhz) / 1e-3).astype(int)
    series = sum(
        (mixed[d : d + 3500, c].astype(float) - recorded[:, c].mean()) for c, d in enumerate(delays)
    )
    sums = np.convolve(series, np.ones(7), "same") / np.sqrt(7 * 64) / recorded.std()
    assert int(np.argmax(sums)) == pytest.approx(2000, abs=3)
    # two bits clip
    assert sums.max() == pytest.approx(20, rel=0.3 if nbits == 2 else 0.12)


def test_pulses_put_into_signed_bytes_saturate() -> None:
    recorded = np.random.default_rng(4).normal(0, 30, (6000, 64)).clip(-128, 127).astype(np.int8)
    pulse = Pulse(time_s=2.0, dm=100.0, width_ms=6.0, snr=2000.0)
    (block,) = HybridSource(HEADER, recorded, [pulse], 6000).blocks()
    added = block.spectra.astype(int) - recorded
    assert added.max() > 50
    assert added.min() >= -1  # rounding
    assert block.spectra.max() == 127


def test_a_recording_stands_for_some_skies(tmp_path: Path) -> None:
    path = tmp_path / "empty.fil"
    write_filterbank(Sky(header=HEADER, nsamples=40000, seed=1), path)
    at = replace(DRAW, recordings=(path,))
    drawn = [draw_sky(replace(at, number=number)) for number in range(20)]
    hybrid = [sky for sky in drawn if isinstance(sky.source, HybridSource)]
    assert 2 <= len(hybrid) <= 12
    for sky in hybrid:
        assert sky.pulses
        assert sky.source.nsamples in (8000, 32000)  # the last fifth is not trained on
    assert isinstance(drawn[0], Drawn)


def test_what_is_checked_on_is_another_part_of_a_recording(tmp_path: Path) -> None:
    path, nsamples = tmp_path / "empty.fil", 200_000
    rng = np.random.default_rng(1)
    seen: dict[bool, set[int]] = {True: set(), False: set()}
    for number in range(300):
        at = replace(DRAW, number=number, recordings=(path,))
        first, last = skies._stretch(path, nsamples, at, rng)
        assert last - first == skies.SKY_SAMPLES
        seen[at.validates] |= {first, last}
    assert max(seen[False]) <= 160_000 <= min(seen[True])
    assert max(seen[True]) <= nsamples
    assert min(seen[False]) < 10_000
    with pytest.raises(InputError, match="holds 20479 samples; 20480 are the least"):
        skies._stretch(path, 20_479, DRAW, rng)


def test_pulses_behind_the_end_of_a_recording_are_not_put_in(tmp_path: Path) -> None:
    path = tmp_path / "short.fil"
    write_filterbank(Sky(header=HEADER, nsamples=30_000, seed=1), path)
    drawn = [draw_sky(replace(DRAW, number=n, recordings=(path,))) for n in range(0, 200, 5)]
    hybrid = [sky for sky in drawn if isinstance(sky.source, HybridSource)]
    assert hybrid
    for sky in hybrid:
        assert sky.source.nsamples == 6000  # the last fifth
        assert all(pulse.time_s < 6000 * HEADER.tsamp_s for pulse in sky.pulses)


def test_skies_to_measure_on_are_not_made_from_recordings(call: Call, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="cannot be made from what is trained on"):
        replace(DRAW, unseen=True, recordings=(tmp_path / "site.fil",))
    words = f"models dataset -o {tmp_path / 'set'} --unseen --recording {tmp_path / 'site.fil'}"
    ended = call(*words.split())
    assert (ended.code, "leave out either" in ended.err) == (2, True)


def test_narrow_pulses_shine_inside_of_the_band() -> None:
    rng = np.random.default_rng(2)
    for number in range(200):
        header = random_plan(np.random.default_rng(number), DRAW).header
        pulse = skies._narrow(Pulse(time_s=0.0, dm=10.0, width_ms=1.0, snr=9.0), rng, header)
        if pulse.f_lo_mhz is None:
            assert pulse.centre_mhz is not None
            assert header.f_lo_mhz <= pulse.centre_mhz <= header.f_hi_mhz
        else:
            assert pulse.f_hi_mhz is not None
            assert header.f_lo_mhz * 0.9999 <= pulse.f_lo_mhz
            assert pulse.f_lo_mhz < pulse.f_hi_mhz <= header.f_hi_mhz * 1.0001
