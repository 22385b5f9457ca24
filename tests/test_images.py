"""DM-time images: the pulse in the middle, its bow-tie upright, noise of unit size."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from mlppa.config import Plan, SearchSettings
from mlppa.data import Block, Candidate, FilterbankHeader, Float32Array, ImageBatch, Picture
from mlppa.dispersion import delay_s
from mlppa.images import BLANK, FEATURES, PARTS, PICTURE_COLUMNS, STEPS, cut_images, draw
from mlppa.search import SearchPlan
from mlppa.simulate import Interference, Pulse, Sky, SkySource

from .skies import HEADER, recorded, searched

SETTINGS = SearchSettings(dm_max=500.0, threshold=6.5, width_max_ms=60.0, subbands=False)
WIDE = FilterbankHeader(
    nchans=256, fch1_mhz=1500.0, foff_mhz=-1.0, tsamp_s=1e-3, tstart_mjd=60000.0, nbits=32
)
RESOLUTIONS = (32, 64, 128, 256)


@cache
def batches(sky: Sky, res: int) -> tuple[tuple[ImageBatch, ...], SearchPlan]:
    plan = Plan.make(SETTINGS, sky.header, res).search
    items = searched(SkySource(sky).blocks(), sky.header, SETTINGS)
    return tuple(cut_images(items, plan)), plan


def only_image(sky: Sky, res: int = 64) -> tuple[Candidate, Float32Array]:
    """Give the strongest candidate of a sky and its image."""
    found = [
        (candidate, image)
        for batch in batches(sky, res)[0]
        for candidate, image in zip(batch.searched.candidates, batch.images, strict=True)
    ]
    return max(found, key=lambda pair: pair[0].snr)


def sky_with(pulse: Pulse, header: FilterbankHeader = WIDE, **others: object) -> Sky:
    return Sky(header=header, nsamples=6000, pulses=(pulse,), seed=2, **others)  # type: ignore[arg-type]


BRIGHT = Pulse(time_s=2.0, dm=200.0, width_ms=4.0, snr=200.0)


@pytest.mark.parametrize("res", RESOLUTIONS)
@pytest.mark.parametrize("width_ms", [1.0, 4.0, 30.0])
def test_the_pulse_stands_in_the_middle(res: int, width_ms: float) -> None:
    _, image = only_image(sky_with(replace(BRIGHT, width_ms=width_ms)), res)
    assert image.shape == (res, res)
    assert image.dtype == np.float32
    row, column = divmod(int(image.argmax()), res)
    assert abs(row - res // 2) <= 1
    assert abs(column - res // 2) <= 1


@pytest.mark.parametrize("dm", [30.0, 200.0, 480.0])
def test_the_middle_row_holds_the_signal_to_noise(dm: float) -> None:
    """A boxcar of the pulse's width over the middle row gives its S/N again."""
    candidate, image = only_image(sky_with(replace(BRIGHT, dm=dm, snr=50.0, width_ms=8.0)))
    pixels = round(candidate.width_samples / 2**candidate.octave)
    middle = image[32]
    best = max(middle[i : i + pixels].sum() / np.sqrt(pixels) for i in range(25, 40))
    # less what the pixels' edges cut off
    assert 0.85 * candidate.snr < best < 1.05 * candidate.snr


def test_the_bow_tie_stands_upright() -> None:
    """A row above the pulse is the mirror image of the row as far below, about the middle."""
    _, image = only_image(sky_with(BRIGHT))
    columns = np.arange(-31, 32)
    light = np.clip(image[:, 1:] - 4, 0, None)  # 4: noise far off would lean on the moments
    lean = (light * columns).sum(axis=1) / light.sum(axis=1)
    assert np.abs(lean[8:57]).max() < 3
    spread = np.sqrt((light * columns**2).sum(axis=1) / light.sum(axis=1))
    assert spread[32] < 2 < spread[32 + 12] < spread[32 + 24]
    for off in (4, 8, 16, 24):
        above, below = image[32 + off, 1:], image[32 - off, :0:-1]
        assert np.corrcoef(above, below)[0, 1] > 0.9


def test_rows_ascend_in_dm() -> None:
    """Seen at too high a DM the bottom of the band is early: its excess lies on the left."""
    narrow = replace(BRIGHT, f_hi_mhz=1330.0)
    candidate, image = only_image(sky_with(narrow))
    assert candidate.dm == pytest.approx(200, abs=10)
    columns = np.arange(64) - 32
    low, high = np.clip(image[32 - 12], 0, None), np.clip(image[32 + 12], 0, None)
    assert (high * columns).sum() / high.sum() < -2
    assert (low * columns).sum() / low.sum() > 2


@pytest.mark.parametrize("res", RESOLUTIONS)
def test_noise_has_unit_size(res: int) -> None:
    sky = Sky(header=WIDE, nsamples=30_000, seed=4)
    settings = SETTINGS.model_copy(update={"threshold": 5.0})
    plan = Plan.make(settings, WIDE, res).search
    items = searched(SkySource(sky).blocks(), WIDE, settings)
    images = np.concatenate([batch.images for batch in cut_images(items, plan)])
    assert len(images) >= 3, "noise peaks above S/N 5"
    away = images[:, : res // 4, : res // 8]  # a corner: beside the bow-tie of the peak
    assert away.std() == pytest.approx(1.0, abs=0.1)
    assert away.mean() == pytest.approx(0.0, abs=0.2)


def test_masked_channels_do_not_change_the_noise_nor_the_place() -> None:
    dead = Interference(kind="dead", f_lo_mhz=1300, f_hi_mhz=1400)
    candidate, image = only_image(sky_with(BRIGHT, interference=(dead,)))
    assert candidate.snr == pytest.approx(200 * np.sqrt(155 / 256), rel=0.1)
    row, column = divmod(int(image.argmax()), 64)
    assert (abs(row - 32) <= 1, abs(column - 32) <= 1) == (True, True)
    assert image[:16, :8].std() == pytest.approx(1.0, abs=0.25), "beside the bow-tie"


def test_beyond_the_edge_of_the_data_there_is_nothing() -> None:
    early = replace(BRIGHT, time_s=0.005, snr=60.0, dm=20.0)
    candidate, image = only_image(sky_with(early))
    assert candidate.octave >= 1
    reach = 32 * 2**candidate.octave
    assert candidate.sample < reach - 20, "its image begins before the data do"
    blank = (image == 0).all(axis=0)
    assert blank[0]
    assert not blank[32:].any()
    assert np.isfinite(image).all()


def test_features_say_what_the_shape_cannot() -> None:
    sky = sky_with(replace(BRIGHT, snr=40.0, width_ms=8.0))
    items, plan = batches(sky, 64)
    (batch,) = [item for item in items if item.searched.candidates]
    (candidate,) = batch.searched.candidates
    named = dict(zip(FEATURES, batch.features[0].tolist(), strict=True))
    pixel = 2**candidate.octave
    sweep_px = 200.0 / plan.unit_dm / pixel
    assert named["log2_sweep_px"] == pytest.approx(np.log2(1 + sweep_px), abs=0.05)
    assert named["snr"] == pytest.approx(candidate.snr)
    assert named["snr_zero_dm_ratio"] == pytest.approx(candidate.snr_zero_dm / candidate.snr)
    assert 1 <= named["log2_width_px"] < 2, "two to four pixels wide"


@pytest.mark.parametrize("ascending", [False, True])
def test_the_spectrum_shows_where_in_the_band_a_pulse_shines(ascending: bool) -> None:
    header = replace(WIDE, fch1_mhz=WIDE.f_lo_mhz, foff_mhz=1.0) if ascending else WIDE
    pulse = replace(BRIGHT, snr=40.0, width_ms=8.0, f_hi_mhz=1372.0)
    items, _ = batches(sky_with(pulse, header), 64)
    (batch,) = [item for item in items if item.searched.candidates]
    (candidate,) = batch.searched.candidates
    spectrum = batch.features[0, -PARTS * STEPS :].reshape(PARTS, STEPS)
    # the boxcar is two to four pixels wide
    there, beside = spectrum[:, STEPS // 2 - 2 : STEPS // 2 + 3], spectrum[:, :4]
    assert there[: PARTS // 2].sum(axis=1).min() > 5
    assert np.abs(there[PARTS // 2 :]).mean() < 1.5
    assert np.abs(beside).mean() == pytest.approx(0.8, abs=0.3)
    snr = there.sum() / np.sqrt(there.size)
    assert snr == pytest.approx(candidate.snr, rel=0.25)


def test_image_and_spectrum_of_a_part_of_the_band_show_that_part() -> None:
    header = replace(WIDE, tsamp_s=5e-4)
    pulse = replace(BRIGHT, snr=10.0, width_ms=4.0, f_hi_mhz=1300.0)
    sky = replace(sky_with(pulse, header), nsamples=9000)
    settings = SETTINGS.model_copy(update={"subbands": True})
    plan = Plan.make(settings, header, 64).search
    items = cut_images(searched(SkySource(sky).blocks(), header, settings), plan)
    (batch,) = [one for one in items if one.searched.candidates]
    (candidate,), (image,), (features,) = (
        batch.searched.candidates,
        batch.images,
        batch.features,
    )
    part = next(one for one in plan.subbands if one.bounds == candidate.channels)
    pixel = 2**candidate.octave
    sweep_px = candidate.dm / part.plan.unit_dm / pixel
    assert features[0] == pytest.approx(np.log2(1 + sweep_px)), "of the part"
    spectrum = features[-PARTS * STEPS :].reshape(PARTS, STEPS)
    # the pulse stands upright in all of it, and would in the lowest quarter of all the band only
    there = spectrum[:, STEPS // 2 - 1 : STEPS // 2 + 2].mean(axis=1)
    assert there[:-2].min() > 1
    assert image[32, 32] > 10


def test_what_holds_no_candidate_gives_an_empty_batch() -> None:
    items, _ = batches(Sky(header=HEADER, nsamples=3000, seed=1), 32)
    assert [batch.images.shape for batch in items] == [(0, 32, 32)] * len(items)
    assert [batch.features.shape for batch in items] == [(0, len(FEATURES))] * len(items)


@pytest.mark.parametrize("foff_mhz", [-1.0, 1.0])
def test_the_picture_shows_the_pulse_where_its_axes_say(foff_mhz: float) -> None:
    fch1_mhz = 1500.0 if foff_mhz < 0 else 1245.0
    sky = sky_with(BRIGHT, replace(WIDE, fch1_mhz=fch1_mhz, foff_mhz=foff_mhz))
    items, plan = batches(sky, 64)
    (batch,) = [item for item in items if item.searched.candidates]
    (candidate,) = batch.searched.candidates
    picture = draw(candidate, batch.images[0], batch.searched.history, plan)
    assert picture.waterfall.shape == (64, PICTURE_COLUMNS)
    brightest = picture.waterfall.argmax(axis=1)
    assert np.abs(picture.time_ms[brightest]).max() <= candidate.width_samples
    assert abs(picture.time_ms[picture.profile.argmax()]) <= candidate.width_samples
    assert picture.freqs_mhz[0] == pytest.approx(fch1_mhz + 1.5 * foff_mhz)
    assert picture.image_dm[32] == candidate.dm
    assert picture.image_time_ms[32] == 0
    assert (np.diff(picture.image_dm) > 0).all()
    assert picture.width_ms == pytest.approx(candidate.width_samples)


def test_a_picture_of_fewer_channels_than_subbands() -> None:
    header = replace(HEADER, nchans=10, foff_mhz=-20.0)
    sky = sky_with(replace(BRIGHT, snr=80.0), header)
    items, plan = batches(sky, 64)
    batch = next(item for item in items if item.searched.candidates)
    picture = draw(batch.searched.candidates[0], batch.images[0], batch.searched.history, plan)
    assert picture.waterfall.shape == (10, PICTURE_COLUMNS)
    np.testing.assert_allclose(picture.freqs_mhz, header.freqs_mhz)


def only_picture(block: Block) -> tuple[Picture, Candidate]:
    """Give the picture of the strongest candidate in a recording."""
    plan = Plan.make(SETTINGS, WIDE, 64).search
    pictures = [
        (draw(candidate, image, batch.searched.history, plan), candidate)
        for batch in cut_images(searched([block], WIDE, SETTINGS), plan)
        for candidate, image in zip(batch.searched.candidates, batch.images, strict=True)
    ]
    return max(pictures, key=lambda pair: pair[1].snr)


def test_beyond_the_edge_of_the_data_a_picture_is_no_number() -> None:
    early = replace(BRIGHT, time_s=0.005, snr=60.0, dm=20.0)
    picture, candidate = only_picture(recorded(sky_with(early)))
    before = candidate.sample * WIDE.tsamp_s * 1e3 + picture.time_ms < -40
    assert before.any()
    assert np.isnan(picture.waterfall[:, before]).all()
    for profile in (picture.profile, picture.zero_dm):
        assert np.isnan(profile[before]).all()
        assert np.isfinite(profile[PICTURE_COLUMNS // 2 :]).all()
    assert np.isnan(picture.image[:, 0]).all()
    assert np.isfinite(picture.image[:, 32:]).all()
    assert picture.image[32, 32] == np.nanmax(picture.image)


def test_channels_that_stop_for_a_while_are_no_data_in_the_picture() -> None:
    sky = sky_with(replace(BRIGHT, snr=60.0))
    whole, candidate = only_picture(recorded(sky))
    spectra = recorded(sky).spectra.astype(np.float32)
    begin = round(candidate.sample) - 200
    spectra[begin : begin + 2000, 64:128] = np.nan
    picture, _ = only_picture(Block(0, spectra))
    assert not np.isnan(whole.waterfall).any()
    gone = np.isnan(picture.waterfall)
    assert gone[17:31].mean() > 0.5, "64 sub-bands of four channels"
    assert not np.delete(gone, range(16, 32), axis=0).any()
    assert np.isfinite(picture.profile).all()


def test_noise_is_not_taken_for_blank() -> None:
    """Nor is 1-bit data, of which one sample in two is the same."""
    for nbits in (1, 32):
        header = replace(WIDE, nbits=nbits)
        picture, _ = only_picture(recorded(sky_with(replace(BRIGHT, snr=60.0), header)))
        assert np.isfinite(picture.waterfall).all()
    assert BLANK >= 8


def test_the_undispersed_profile_stands_where_the_band_is_looked_at() -> None:
    """A burst at DM 0, as the pulse passes the middle of the band, is in the middle too."""
    pulse = replace(BRIGHT, snr=60.0)
    middle_s = pulse.time_s + float(delay_s(pulse.dm, WIDE.freqs_mhz, 1500.0).mean())
    burst = Interference(kind="burst", start_s=middle_s - 0.002, stop_s=middle_s + 0.002, level=0.5)
    quiet, _ = only_picture(recorded(sky_with(pulse)))
    both, _ = only_picture(recorded(sky_with(pulse, interference=(burst,))))
    assert quiet.profile.max() > 20
    assert quiet.zero_dm.max() < 6
    assert both.dm == pytest.approx(pulse.dm, abs=5)
    assert both.zero_dm.max() > 8
    assert abs(both.time_ms[both.zero_dm.argmax()]) <= 3
