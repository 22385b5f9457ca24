"""The simulated sky: what is put in comes out, whatever the blocks, the order and the depth."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mlppa.data import FilterbankHeader
from mlppa.dispersion import delay_s
from mlppa.errors import ConfigError, FormatError
from mlppa.simulate import (
    Interference,
    Population,
    Pulse,
    Sky,
    SkySource,
    blocks,
    random_interference,
    random_sky,
    read_truth,
    shape_pulse,
    truth_path,
    write_filterbank,
)

HEADER = FilterbankHeader(
    nchans=64, fch1_mhz=1500.0, foff_mhz=-4.0, tsamp_s=1e-3, tstart_mjd=60000.0, nbits=32
)
ASCENDING = replace(HEADER, fch1_mhz=HEADER.f_lo_mhz, foff_mhz=4.0)
PULSE = Pulse(time_s=1.2345, dm=150.0, width_ms=6.0, snr=30.0)

type Float64 = NDArray[np.float64]


def record(sky: Sky, nsamples: int = 4096) -> Float64:
    spectra = np.concatenate([block.spectra for block in blocks(sky, nsamples)])
    return spectra.astype(np.float64)


def in_noise_units(sky: Sky) -> Float64:
    """Recorded float samples, less the mean and over the deviation of the noise."""
    return (record(sky) - 96) / 16


def dedisperse(spectra: Float64, header: FilterbankHeader, dm: float) -> Float64:
    """Band sum in units of its noise; the oracle: one shift for each channel."""
    shifts = np.rint(delay_s(dm, header.freqs_mhz, header.f_hi_mhz) / header.tsamp_s).astype(int)
    length = len(spectra) - shifts.max()
    series = np.sum([spectra[s : s + length, c] for c, s in enumerate(shifts)], axis=0)
    return np.asarray(series / np.sqrt(header.nchans), np.float64)


def best_boxcar(series: Float64) -> tuple[float, float, int]:
    """Highest S/N, the middle of its boxcar in samples, and its length."""
    sums = np.concatenate([[0], np.cumsum(series)])
    tries = []
    for width in range(1, 200):
        scores = (sums[width:] - sums[:-width]) / np.sqrt(width)
        tries.append((float(scores.max()), int(scores.argmax()) + (width - 1) / 2, width))
    return max(tries)


@pytest.mark.parametrize("header", [HEADER, ASCENDING], ids=["descending", "ascending"])
@pytest.mark.parametrize("pulse", [PULSE, replace(PULSE, width_ms=0.1, dm=1500.0)])
def test_a_pulse_without_noise_has_its_snr_time_and_dm(
    pulse: Pulse, header: FilterbankHeader
) -> None:
    shape = shape_pulse(pulse, header)
    spectra = np.zeros((6000, header.nchans), np.float32)
    shape.add_to(spectra, 0)
    snr, middle, width = best_boxcar(dedisperse(spectra.astype(np.float64), header, pulse.dm))
    assert snr == pytest.approx(pulse.snr, rel=1e-3)
    assert middle == pytest.approx(pulse.time_s / header.tsamp_s, abs=1)
    assert width == pytest.approx(shape.boxcar_samples, abs=1)
    for wrong_dm in (0.8 * pulse.dm, 1.2 * pulse.dm):
        series = dedisperse(spectra.astype(np.float64), header, wrong_dm)
        assert best_boxcar(series)[0] < 0.95 * pulse.snr


def test_each_channel_is_late_by_the_delay_law_and_smeared_by_its_width() -> None:
    narrow = replace(PULSE, width_ms=0.5, dm=2000.0)
    shape = shape_pulse(narrow, HEADER)
    weights = shape.profile / shape.profile.sum(axis=1, keepdims=True)
    times = shape.first[:, None] + np.arange(weights.shape[1])
    arrival = (weights * times).sum(axis=1) * HEADER.tsamp_s
    expected = narrow.time_s + delay_s(narrow.dm, HEADER.freqs_mhz, HEADER.f_hi_mhz)
    np.testing.assert_allclose(arrival, expected, atol=2e-5)
    variance = (weights * (times * HEADER.tsamp_s - arrival[:, None]) ** 2).sum(axis=1)
    f = HEADER.freqs_mhz
    edges = delay_s(narrow.dm, f - 2, 1e9) - delay_s(narrow.dm, f + 2, 1e9)
    sigma_s = 0.5e-3 / 2.3548
    np.testing.assert_allclose(variance, (edges**2 + 1e-6) / 12 + sigma_s**2, rtol=0.02)


def test_scattering_delays_by_its_time_and_a_narrow_band_pulse_keeps_its_snr() -> None:
    plain = shape_pulse(PULSE, HEADER)
    late = shape_pulse(replace(PULSE, scatter_ms=40.0), HEADER)

    def arrival(profile: NDArray[np.float32], first: NDArray[np.int64]) -> Float64:
        times = first[:, None] + np.arange(profile.shape[1])
        return np.asarray((profile * times).sum(axis=1) / profile.sum(axis=1))

    lag = arrival(late.profile, late.first) - arrival(plain.profile, plain.first)
    np.testing.assert_allclose(lag, 40.0 * (HEADER.freqs_mhz / 1000) ** -4.0, rtol=1e-3)

    half = shape_pulse(replace(PULSE, f_hi_mhz=1370.0, spectral_index=-2.0), HEADER)
    dark = HEADER.freqs_mhz > 1370.0
    assert not half.profile[dark].any()
    spectra = np.zeros((3000, 64), np.float32)
    half.add_to(spectra, 0)
    series = dedisperse(spectra.astype(np.float64), HEADER, PULSE.dm)
    assert best_boxcar(series)[0] == pytest.approx(PULSE.snr, rel=1e-3)
    with pytest.raises(ConfigError):
        shape_pulse(replace(PULSE, f_lo_mhz=3000.0), HEADER)


def test_snr_in_noise_is_right_on_average() -> None:
    start, stop = 1234 - 40, 1234 + 40
    found = []
    for seed in range(60):
        sky = Sky(header=HEADER, nsamples=2000, pulses=(PULSE,), seed=seed)
        series = dedisperse(in_noise_units(sky), HEADER, PULSE.dm)
        width = shape_pulse(PULSE, HEADER).boxcar_samples
        sums = np.convolve(series[start:stop], np.ones(width), "valid") / np.sqrt(width)
        found.append(sums[round(1234.5 - start - (width - 1) / 2)])
    assert np.std(found) == pytest.approx(1.0, abs=0.3)
    assert np.mean(found) == pytest.approx(PULSE.snr, abs=3 / np.sqrt(60) + 0.1)


@given(cuts=st.lists(st.integers(1, 1500), min_size=1, max_size=4))
@settings(max_examples=15, deadline=None)
def test_samples_do_not_depend_on_the_blocks(cuts: list[int]) -> None:
    burst = Interference("burst", 0.7, 0.72, level=3.0)
    sky = Sky(header=HEADER, nsamples=2500, pulses=(PULSE,), interference=(burst,), seed=3)
    whole = record(sky, 2500)
    for cut in cuts:
        pieces = list(blocks(sky, cut))
        assert [piece.start for piece in pieces] == list(range(0, 2500, cut))
        np.testing.assert_array_equal(np.concatenate([p.spectra for p in pieces]), whole)


@pytest.mark.parametrize("nbits", [1, 2, 4, 8, 16, 32])
def test_the_same_sky_in_both_orders_and_at_every_depth(nbits: int) -> None:
    sky = Sky(header=HEADER, nsamples=3000, pulses=(PULSE,), seed=5)
    truth = in_noise_units(sky)
    down = record(replace(sky, header=replace(HEADER, nbits=nbits)))
    up = record(replace(sky, header=replace(ASCENDING, nbits=nbits)))
    np.testing.assert_allclose(down, up[:, ::-1], rtol=1e-6)
    if nbits <= 4:
        assert np.unique(down).tolist() == list(range(2**nbits))
    # Correlation of a Gaussian with itself after b bits (e.g. 2 / pi squared for one bit).
    least = {1: 0.79, 2: 0.92, 4: 0.98, 8: 0.999, 16: 0.999999, 32: 0.999999}
    assert np.corrcoef(down.ravel(), truth.ravel())[0, 1] > least[nbits]
    series = dedisperse(down - down.mean(axis=0), HEADER, PULSE.dm)
    snr, middle, _ = best_boxcar(series / down.std())
    assert middle == pytest.approx(1234.5, abs=4)
    # A pulse of 1.4 times the noise in each sample saturates one bit.
    assert snr > (0.5 if nbits == 1 else 0.75) * PULSE.snr


def around(item: Interference, nbits: int = 32) -> Float64:
    """How the mean of each sample differs from the same sky without the interference."""
    header = replace(HEADER, nbits=nbits)
    sky = Sky(header=header, nsamples=2000, seed=9)
    return in_noise_units(replace(sky, interference=(item,))) - in_noise_units(sky)


def lit(difference: Float64) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    changed = difference != 0
    return changed.any(axis=1), changed.any(axis=0)


def test_a_burst_is_in_all_channels_at_once_and_louder_in_noise_too() -> None:
    difference = around(Interference("burst", 0.5, 0.51, level=3.0))
    times, channels = lit(difference)
    assert np.flatnonzero(times).tolist() == list(range(500, 510))
    assert channels.all()
    assert difference[times].mean() == pytest.approx(3.0, abs=0.1)
    assert difference[times].std() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("kind", ["carrier", "pulsed", "radar"])
def test_narrow_band_interference_stays_in_its_channels(kind: str) -> None:
    difference = around(
        Interference(kind, 0.1995, 1.1995, 5.0, 1300.0, 1320.0, period_s=0.1, width_ms=10.0)  # type: ignore[arg-type]
    )
    times, channels = lit(difference)
    inside = (HEADER.freqs_mhz >= 1300) & (HEADER.freqs_mhz <= 1320)
    np.testing.assert_array_equal(channels, inside)
    expected = np.zeros(2000, bool)
    expected[200:1200] = True
    if kind != "carrier":
        expected &= np.arange(2000) % 100 < 10
    np.testing.assert_array_equal(times, expected)
    if kind == "radar":
        strength = difference[:, inside].mean(axis=1)
        assert strength[700:710].mean() == pytest.approx(5.0, abs=0.3)
        assert strength[200:210].mean() < 0.1


def test_a_chirp_goes_down_the_band_in_a_straight_line() -> None:
    difference = around(Interference("chirp", 0.5, 1.13, level=4.0, width_ms=5.0))
    middle = np.array([np.flatnonzero(column).mean() for column in difference.T])
    np.testing.assert_allclose(middle, 500 + 10 * np.arange(64), atol=1.5)


def test_faults_of_the_receiver() -> None:
    base = in_noise_units(Sky(header=HEADER, nsamples=2000, seed=9))
    step = around(Interference("gain", 1.0, 1.5, level=1.5))
    np.testing.assert_allclose(step[1000:1500], 0.5 * (6 + base[1000:1500]), atol=1e-4)
    assert not step[:1000].any()
    assert not step[1500:].any()
    hum = around(Interference("hum", level=0.1, period_s=0.4))
    np.testing.assert_allclose(hum[100], 0.1 * (6 + base[100]), rtol=0.01)

    faults = (
        Interference("dropped", 1.0, 1.01),
        Interference("dead", f_lo_mhz=1400.0, f_hi_mhz=1408.0),
    )
    dead = (HEADER.freqs_mhz >= 1400) & (HEADER.freqs_mhz <= 1408)
    for nbits in (1, 2, 4, 8, 16, 32):
        header = replace(HEADER, nbits=nbits)
        spectra = record(Sky(header=header, nsamples=2000, interference=faults, seed=9))
        assert not spectra[1000:1010].any()
        assert not spectra[:, dead].any()
        assert spectra[:1000, ~dead].any(axis=0).all()


def test_a_bandpass_scales_level_and_noise_alike() -> None:
    flat = Sky(header=replace(HEADER, nbits=16), nsamples=4000, seed=1)
    shaped = record(replace(flat, bandpass=0.5))
    level, noise = shaped.mean(axis=0), shaped.std(axis=0)
    np.testing.assert_allclose(level / noise, 6.0, rtol=0.06)
    assert level.min() == pytest.approx(0.5 * 6144, rel=0.02)
    assert level.max() == pytest.approx(6144, rel=0.05)


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "aliens"}, {"kind": "pulsed", "width_ms": 1.0}, {"kind": "chirp"}, {"kind": "hum"}],
)
def test_impossible_interference_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Interference(**wrong)  # type: ignore[arg-type]


def test_an_impossible_pulse_is_refused() -> None:
    with pytest.raises(ConfigError):
        replace(PULSE, width_ms=0.0)
    with pytest.raises(ConfigError):
        replace(PULSE, dm=float("nan"))


def test_a_random_sky_holds_its_pulses_whole_and_in_range() -> None:
    population = Population(8, snr=(10, 20), dm=(100, 400), width_ms=(2, 9))
    sky = random_sky(HEADER, 20.0, population, rfi=True, seed=4)
    assert sky == random_sky(HEADER, 20.0, population, rfi=True, seed=4)
    assert sky != random_sky(HEADER, 20.0, population, rfi=True, seed=5)
    assert len(sky.pulses) == 8
    for pulse in sky.pulses:
        shape = shape_pulse(pulse, HEADER)
        assert 0 <= shape.start < shape.stop <= sky.nsamples
        assert 10 <= pulse.snr <= 20
        assert 100 <= pulse.dm <= 400
        assert 2 <= pulse.width_ms <= 9
    kinds = {item.kind for item in sky.interference}
    assert kinds >= {"burst", "carrier", "pulsed", "radar", "chirp", "gain", "dropped", "dead"}


@pytest.mark.parametrize("foff_mhz", [-0.5, -4.0])
def test_random_chirps_depart_from_the_delay_law(foff_mhz: float) -> None:
    header = replace(HEADER, foff_mhz=foff_mhz)
    law = delay_s(1.0, header.freqs_mhz, header.f_hi_mhz)
    law /= law.max()
    for seed in range(30):
        items = random_interference(header, 20.0, np.random.default_rng(seed))
        for item in (item for item in items if item.kind == "chirp"):
            line = (header.f_hi_mhz - header.freqs_mhz) / (header.f_hi_mhz - header.f_lo_mhz)
            bend_ms = 1e3 * (item.stop_s - item.start_s) * np.abs(line - law).max()
            assert bend_ms >= 4.99 * max(item.width_ms, 1e3 * header.tsamp_s)


def test_the_source_ends_when_it_is_closed() -> None:
    source = SkySource(Sky(header=HEADER, nsamples=3000), block_nsamples=1000)
    assert (source.header, source.nsamples, source.live) == (HEADER, 3000, False)
    stream = source.blocks()
    assert next(stream).stop == 1000
    source.close()
    assert list(stream) == []


@pytest.mark.parametrize("order", [HEADER, ASCENDING], ids=["descending", "ascending"])
@pytest.mark.parametrize("nbits", [1, 2, 4, 8, 16, 32])
def test_another_reader_reads_the_same_samples(
    order: FilterbankHeader, nbits: int, tmp_path: Path
) -> None:
    from sigpyproc.readers import FilReader

    header = replace(order, nbits=nbits)
    sky = random_sky(header, 3.0, Population(2), rfi=True, seed=1)
    path = tmp_path / "sky.fil"
    write_filterbank(sky, path)
    with FilReader(str(path)) as reader:
        assert (reader.header.nchans, reader.header.nsamples) == (64, 3000)
        assert reader.header.foff == header.foff_mhz
        spectra = reader.read_block(0, 3000).data.T
    np.testing.assert_array_equal(spectra, record(sky))
    assert not list(tmp_path.glob("*.part"))


def test_what_is_broken_off_leaves_nothing(tmp_path: Path) -> None:
    def stop(nsamples: int) -> None:
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            ".sky.fil.part",
            ".sky.fil.truth.jsonl.part",
        ]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_filterbank(Sky(header=HEADER, nsamples=3000), tmp_path / "sky.fil", stop)
    assert not list(tmp_path.iterdir())


def test_how_far_it_is_is_told(tmp_path: Path) -> None:
    told: list[int] = []
    write_filterbank(Sky(header=HEADER, nsamples=10_000), tmp_path / "sky.fil", told.append)
    assert told == [4096, 8192, 10_000]


def test_truth_survives_the_file(tmp_path: Path) -> None:
    sky = random_sky(replace(HEADER, nbits=8), 5.0, Population(3), rfi=True, seed=2)
    path = tmp_path / "sky.fil"
    write_filterbank(sky, path)
    truth = read_truth(truth_path(path))
    assert tuple(truth.pulses) == sky.pulses
    assert tuple(truth.interference) == sky.interference
    lines = [json.loads(line) for line in truth_path(path).read_text().splitlines()]
    assert [line["id"] for line in lines if line["kind"] == "pulse"] == [0, 1, 2]


def test_truth_of_another_form(tmp_path: Path) -> None:
    path = tmp_path / "B.truth.json"
    entry = {"id": 0, "t": 1.5, "dm": 50.0, "width_ms": 3.0, "snr": 9.0, "ideal_width_ms": 4.0}
    path.write_text(json.dumps({"pulses": [entry]}))
    assert read_truth(path).pulses == [Pulse(1.5, 50.0, 3.0, 9.0)]
    for damage in ("[]", "{}", "not json"):
        path.write_text(damage)
        with pytest.raises(FormatError):
            read_truth(path)


def test_truth_of_the_real_transientx_run(shared_data: Path) -> None:
    truth = read_truth(shared_data / "candidates" / "transientx" / "B.truth.json")
    assert len(truth.pulses) == 20
    assert truth.pulses[0].dm == pytest.approx(413.695, abs=1e-3)


def test_samples_that_end_inside_a_byte_are_refused(tmp_path: Path) -> None:
    header = replace(HEADER, nchans=63, nbits=1)
    with pytest.raises(ConfigError, match="inside a byte"):
        write_filterbank(Sky(header=header, nsamples=10), tmp_path / "sky.fil")
    assert not list(tmp_path.iterdir())
