"""Pictures of other searches and files of FETCH: written, read, and judged as our images are."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from mlppa.data import Candidate, Listed, Panels
from mlppa.dispersion import delay_s
from mlppa.errors import FormatError, InputError
from mlppa.formats.panels import fetch_facts, read_fetch, read_px, write_fetch
from mlppa.images import FEATURES, PARTS, STEPS, cut_images, cut_panels
from mlppa.listed.pictures import Pictures, as_image
from mlppa.simulate import SkySource

from .calling import Call
from .skies import HEADER, PULSES, SKY, plan_for, searched
from .test_confirm import line_of, told

PLAN = plan_for(HEADER).search


@pytest.fixture(scope="module")
def cut() -> list[tuple[Candidate, Panels, np.ndarray, np.ndarray]]:
    """Every pulse of the sky: its panels, its image and its numbers."""
    items = searched(SkySource(SKY).blocks(), HEADER)
    found = []
    for item, batch in zip(items, cut_images(items, PLAN), strict=True):
        for number, one in enumerate(item.candidates):
            panels = cut_panels(one, item.history, PLAN)
            found.append((one, panels, batch.images[number], batch.features[number]))
    assert len(found) == len(PULSES)
    return found


def test_panels_show_the_pulse_in_the_middle(
    cut: list[tuple[Candidate, Panels, np.ndarray, np.ndarray]],
) -> None:
    for one, panels, *_ in cut:
        assert panels.spectrum.shape == panels.plane.shape == (256, 256)
        row, column = np.unravel_index(panels.plane.argmax(), panels.plane.shape)
        assert panels.dms[row] == pytest.approx(one.dm, abs=3 * one.dm_err + 2 * one.dm / 255)
        assert panels.plane_s[column] == pytest.approx(0, abs=3e-3 + 1e-3 * one.width_samples)
        profile = panels.spectrum.sum(axis=0)
        assert abs(int(profile.argmax()) - 128) <= 3
        # units of noise: no part of it is all that far from 1
        assert 0.8 < panels.spectrum[:, :96].std() < 1.2
        assert (panels.dms[0], panels.dms[-1]) == pytest.approx((0, 2 * one.dm))


def test_a_file_of_fetch_is_what_its_readers_expect(
    cut: list[tuple[Candidate, Panels, np.ndarray, np.ndarray]], tmp_path: Path
) -> None:
    one, panels, *_ = cut[2]
    path = tmp_path / "one.h5"
    write_fetch(path, panels, fetch_facts(one, HEADER))
    with h5py.File(path) as file:
        assert file["data_freq_time"].shape == file["data_dm_time"].shape == (256, 256)
        labels = [dim.label for dim in file["data_freq_time"].dims]
        assert labels == ["time", "frequency"]
        assert [dim.label for dim in file["data_dm_time"].dims] == ["dm", "time"]
        np.testing.assert_array_equal(file["data_freq_time"][:].T, panels.spectrum)
        assert file.attrs["dm"] == one.dm
        assert file.attrs["width"] == one.width_samples
        assert file.attrs["tcand"] == pytest.approx(one.sample * HEADER.tsamp_s)
        assert {"cand_id", "snr", "tsamp", "nchans", "fch1", "foff", "tstart"} <= set(file.attrs)
    again, listed, header = read_fetch(path)
    np.testing.assert_array_equal(again.plane, panels.plane)
    np.testing.assert_allclose(again.plane_s, panels.plane_s, atol=1e-9)
    np.testing.assert_allclose(again.dms, panels.dms)
    assert (listed.dm, listed.snr, listed.width_samples) == (one.dm, one.snr, one.width_samples)
    assert header == replace(HEADER, nbits=32)


@pytest.mark.parametrize("foff_mhz", [HEADER.foff_mhz, -HEADER.foff_mhz])
def test_a_file_of_fetch_tells_the_part_of_the_band_that_it_shows(
    cut: list[tuple[Candidate, Panels, np.ndarray, np.ndarray]], tmp_path: Path, foff_mhz: float
) -> None:
    one, panels, *_ = cut[2]
    header = replace(HEADER, foff_mhz=foff_mhz)
    write_fetch(tmp_path / "one.h5", panels, fetch_facts(replace(one, channels=(16, 48)), header))
    _, listed, told = read_fetch(tmp_path / "one.h5")
    assert told is not None
    np.testing.assert_allclose(told.freqs_mhz, header.freqs_mhz[16:48])
    # it arrives there later than at the top of all of the band
    later_s = float(delay_s(one.dm, told.f_hi_mhz, header.f_hi_mhz))
    assert listed.time_s == pytest.approx(one.sample * HEADER.tsamp_s + later_s)
    assert later_s > 1e-3


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n" + bytes(100), b"text"])
def test_what_is_no_file_of_fetch_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(content)
    with pytest.raises(FormatError):
        read_fetch(path)
    with pytest.raises(InputError):
        read_fetch(tmp_path / "nowhere.h5")
    with h5py.File(path, "w") as file:
        file["data_freq_time"] = file["data_dm_time"] = np.zeros(3)
    with pytest.raises(FormatError, match="panels of shapes"):
        read_fetch(path)
    with h5py.File(path, "w") as file:
        file.create_group("data_freq_time")
        file["data_dm_time"] = np.dtype("f4")
    with pytest.raises(FormatError, match="are none"):
        read_fetch(path)


@pytest.mark.parametrize(
    "changes",
    [
        *({name: value} for name in ("dm", "snr", "tcand") for value in (np.nan, np.inf, 1e300)),
        *({"width": np.inf}, {"nchans": np.inf}, {"dm": 0.0}, {"tsamp": -1.0}),
    ],
    ids=str,
)
def test_numbers_that_cannot_be_are_refused(
    changes: dict[str, float],
    cut: list[tuple[Candidate, Panels, np.ndarray, np.ndarray]],
    tmp_path: Path,
    call: Call,
) -> None:
    one, panels, *_ = cut[0]
    good, bad = tmp_path / "good.h5", tmp_path / "bad.h5"
    write_fetch(good, panels, fetch_facts(one, HEADER))
    write_fetch(bad, panels, fetch_facts(one, HEADER) | changes)
    with pytest.raises(FormatError):
        read_fetch(bad)
    assert call("classify", bad, "-o", tmp_path / "out").code == 3
    assert call("classify", good, bad, "-o", tmp_path / "out", "-q").code == 0
    assert len(told(tmp_path / "out")) == 1


def test_resampled_panels_look_like_images_of_our_own(
    cut: list[tuple[Candidate, Panels, np.ndarray, np.ndarray]],
) -> None:
    for one, panels, ours, numbers in cut:
        width_s = one.width_samples * HEADER.tsamp_s
        image, features = as_image(panels, one.dm, width_s, one.snr, 64)
        row, column = np.unravel_index(image.argmax(), image.shape)
        assert max(abs(row - 32), abs(column - 32)) <= 3
        assert features.shape == (len(FEATURES),)
        by_name = dict(zip(FEATURES, zip(features, numbers, strict=True), strict=True))
        assert by_name["log2_sweep_px"] == pytest.approx((features[0],) * 2, abs=1)
        assert by_name["snr"][0] == pytest.approx(one.snr)
        theirs = features[4:].reshape(PARTS, STEPS)
        mine = numbers[4:].reshape(PARTS, STEPS)
        # the same pulse in every part of the band
        assert theirs[:, 6:10].sum() == pytest.approx(mine[:, 6:10].sum(), rel=0.5)
        assert abs(int(theirs.sum(axis=0).argmax()) - STEPS // 2) <= 1
        assert np.isfinite(image).all()
        assert ours.shape == image.shape


def test_candidates_are_written_for_fetch_and_read_again(
    call: Call, tmp_path: Path, sky_file: Path
) -> None:
    path = tmp_path / "sky.cands"
    path.write_text("".join(line_of(one, number=n) for n, one in enumerate(PULSES, start=1)))
    out = tmp_path / "out"
    assert call("classify", path, "--data", sky_file, "-o", out, "-q", "--write-h5").code == 0
    files = sorted(out.glob("*.h5"))
    assert [file.stem for file in files] == sorted(one.id for one in told(out))
    again = tmp_path / "again"
    assert call("classify", *files, "-o", again, "-q").code == 0
    first, second = told(out), told(again)
    assert {one.judged_by for one in second} == {"image"}
    assert len(second) == len(first)
    for one, other in zip(first, second, strict=True):
        assert (other.time_s, other.dm) == pytest.approx((one.time_s, one.dm), abs=1e-3)


@pytest.fixture(scope="module")
def sky_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mlppa.simulate import write_filterbank

    path = tmp_path_factory.mktemp("sky") / "sky.fil"
    write_filterbank(SKY, path)
    return path


def test_a_picture_that_is_not_there_is_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    row = Listed(dm=10.0, plot="x_01.png", path=str(tmp_path / "a.cands"), line=3)
    assert Pictures(beside=True).split([row]) == ([], [row])
    assert "judged without it" in caplog.text
    assert Pictures(beside=False).split([row]) == ([], [row])
    (tmp_path / "x_01.px").write_bytes(b"SIMPLE" * 100)
    assert Pictures(beside=True).split([row]) == ([], [row])


@pytest.mark.shared
def test_the_picture_of_the_real_burst(shared_data: Path) -> None:
    path = shared_data / "candidates/transientx/FRB20180417A_askap_beam28_01_01.px"
    panels = read_px(path, 1.0)
    assert (panels.spectrum.shape, panels.plane.shape) == ((18, 90), (44, 90))
    assert (panels.freqs_mhz[0], panels.dms[0], panels.dms[-1]) == (1465, 302.5, 646.5)
    row, column = np.unravel_index(panels.plane.argmax(), panels.plane.shape)
    assert panels.dms[row] == pytest.approx(475, abs=8)
    assert panels.plane_s[column] == pytest.approx(0, abs=4e-3)
    image, features = as_image(panels, 475.0, 3.8e-3, 14.5, 64)
    row, column = np.unravel_index(image.argmax(), image.shape)
    assert max(abs(row - 32), abs(column - 32)) <= 4
    assert features[2] < 0.3
