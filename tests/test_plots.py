import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from numpy.typing import NDArray

from mlppa.data import Float32Array, Picture
from mlppa.dispersion import channel_shape, dm_per_sample
from mlppa.errors import SinkError
from mlppa.plots import caption, plot_detection, plot_found, title
from mlppa.plots.detection import IMAGE, PROFILE, SPECTRUM, Box
from mlppa.plots.page import ACCENT, BLUE, NO_DATA, PURPLE

from .messages import detection_message

FREQS_MHZ = 1464.5 - np.arange(336, dtype=np.float64)
TSAMP_S = 1.266e-3
RES = 64
NTIME = 192
SWEEP = 260


def sky(snr: float, width: int, seed: int = 1) -> Float32Array:
    """Noise with one pulse of this S/N over its boxcar; [nchans, time], arrival in the middle."""
    rng = np.random.default_rng(seed)
    data = rng.standard_normal((len(FREQS_MHZ), 3 * SWEEP + NTIME)).astype(np.float32)
    delays = np.rint(SWEEP * channel_shape(FREQS_MHZ)).astype(int)
    for channel, delay in enumerate(delays):
        start = SWEEP + NTIME // 2 + delay - width // 2
        data[channel, start : start + width] += snr / np.sqrt(width * len(FREQS_MHZ))
    return data


def dedispersed(data: Float32Array, sweep: int, start: int, length: int) -> Float32Array:
    delays = np.rint(sweep * channel_shape(FREQS_MHZ)).astype(int)
    return np.stack(
        [row[start + d : start + d + length] for row, d in zip(data, delays, strict=True)]
    )


def picture(snr: float, width: int) -> Picture:
    """The picture of one pulse, by plain brute force."""
    data = sky(snr, width)
    aligned = dedispersed(data, SWEEP, SWEEP, NTIME)
    waterfall = aligned.reshape(42, 8, NTIME).sum(1) / np.sqrt(8)
    sweeps = range(SWEEP - RES // 2, SWEEP + RES // 2)
    middle = SWEEP + NTIME // 2
    mean_delay = float(channel_shape(FREQS_MHZ).mean())
    image = [
        dedispersed(data, sweep, middle - RES // 2 + round((SWEEP - sweep) * mean_delay), RES).sum(
            0
        )
        for sweep in sweeps
    ]
    return Picture(
        waterfall=waterfall.astype(np.float32),
        profile=(aligned.sum(0) / np.sqrt(len(FREQS_MHZ))).astype(np.float32),
        zero_dm=np.zeros(NTIME, np.float32),
        time_ms=centred(NTIME),
        freqs_mhz=FREQS_MHZ.reshape(42, 8).mean(1),
        image=np.asarray(image, np.float32) / np.float32(np.sqrt(len(FREQS_MHZ))),
        image_time_ms=centred(RES),
        image_dm=np.asarray(sweeps) * dm_per_sample(FREQS_MHZ, TSAMP_S),
        dm=SWEEP * dm_per_sample(FREQS_MHZ, TSAMP_S),
        width_ms=width * TSAMP_S * 1e3,
    )


def centred(n: int) -> NDArray[np.float64]:
    return (np.arange(n, dtype=np.float64) - n // 2) * TSAMP_S * 1e3


TEXT = {
    "DM": "249.7 ± 1.2 pc cm⁻³",
    "S/N": "15.7",
    "width": "2.53 ms",
    "MJD": "58225.123456789",
    "probability": "0.9987",
    "model": "bowtie-64",
}
TITLE = ("askap", "beam 28")


def pixels(path: Path) -> NDArray[np.float64]:
    return np.asarray(imread(path), np.float64)[..., :3]


def panel(path: Path, box: Box) -> NDArray[np.float64]:
    """A panel, from a millimetre inside its frame."""
    rows, columns, _ = (page := pixels(path)).shape
    left, right = round(box[0] * columns) + 4, round((box[0] + box[2]) * columns) - 4
    top, bottom = round((1 - box[1] - box[3]) * rows) + 4, round((1 - box[1]) * rows) - 4
    return page[top:bottom, left:right]


def spectrum(path: Path) -> NDArray[np.float64]:
    return panel(path, SPECTRUM)


def has_colour(panel: NDArray[np.float64], colour: str) -> bool:
    return bool((np.abs(panel - to_rgb(colour)).max(axis=2) < 0.02).any())


@pytest.mark.parametrize(("snr", "width"), [(8, 4), (16, 2), (500, 6)])
def test_faint_and_bright_pulses_show(tmp_path: Path, snr: float, width: int) -> None:
    path = tmp_path / "pulse.png"
    plot_detection(picture(snr, width), TITLE, TEXT, path)
    assert pixels(path).shape == (700, 1000, 3)
    columns = spectrum(path).mean(axis=(0, 2))
    middle = slice(len(columns) // 2 - 10, len(columns) // 2 + 10)
    off = np.delete(columns, np.arange(len(columns) // 2 - 40, len(columns) // 2 + 40))
    assert columns[middle].max() > off.mean() + 4 * off.std()
    assert off.mean() < 0.5, "noise stays in the dark part of the map"


def test_channel_order_does_not_matter(tmp_path: Path) -> None:
    falling = picture(16, 2)
    rising = replace(falling, waterfall=falling.waterfall[::-1], freqs_mhz=falling.freqs_mhz[::-1])
    for name, either in (("falling", falling), ("rising", rising)):
        plot_detection(either, TITLE, TEXT, tmp_path / f"{name}.png")
    np.testing.assert_array_equal(pixels(tmp_path / "falling.png"), pixels(tmp_path / "rising.png"))


def test_what_is_no_data_is_grey_in_every_panel(tmp_path: Path) -> None:
    whole = picture(16, 2)
    holed = replace(
        whole,
        waterfall=holes(whole.waterfall),
        profile=holes(whole.profile),
        zero_dm=holes(whole.zero_dm),
        image=holes(whole.image),
    )
    nothing = replace(
        whole,
        waterfall=whole.waterfall * np.nan,
        profile=whole.profile * np.nan,
        zero_dm=whole.zero_dm * np.nan,
        image=whole.image * np.nan,
    )
    for name, shown, least, most in (
        ("whole", whole, 0.0, 0.0),
        ("holed", holed, 0.04, 0.3),
        ("nothing", nothing, 0.3, 1.0),
    ):
        path = tmp_path / f"{name}.png"
        plot_detection(shown, TITLE, TEXT, path)
        for box in (PROFILE, SPECTRUM, IMAGE):
            grey = np.abs(panel(path, box) - to_rgb(NO_DATA)).max(axis=2) < 0.02
            assert least <= grey.mean() <= most, (name, box)


def holes(values: Float32Array) -> Float32Array:
    """Leave out a tenth of it, at the end."""
    out = values.copy()
    out[..., -(values.shape[-1] // 10) :] = np.nan
    return out


def test_averaging_leaves_no_sub_band_out(tmp_path: Path) -> None:
    faint = picture(8, 4)
    lit = faint.waterfall.copy()
    lit[0] += 10  # the highest, of 42 that are averaged by fives
    for name, waterfall in (("lit", lit), ("faint", faint.waterfall)):
        path = tmp_path / f"{name}.png"
        plot_detection(replace(faint, waterfall=waterfall), TITLE, TEXT, path)
    top, without = (spectrum(tmp_path / f"{name}.png")[:6].mean() for name in ("lit", "faint"))
    assert top > without + 0.15


def test_dm_0_is_marked_where_the_image_reaches_it(tmp_path: Path) -> None:
    far = picture(16, 2)
    near = replace(far, image_dm=far.image_dm - far.dm + 5, dm=5.0)
    for name, shown in (("far", far), ("near", near)):
        plot_detection(shown, TITLE, TEXT, tmp_path / f"{name}.png")
    white = [
        (panel(tmp_path / f"{name}.png", IMAGE).min(axis=2) > 0.98).sum(axis=1).max()
        for name in ("far", "near")
    ]
    assert white[1] > white[0] + 30, "a dashed line across"


def test_the_undispersed_band_is_drawn_in_its_place(tmp_path: Path) -> None:
    zero_dm = np.zeros(NTIME, np.float32)
    zero_dm[NTIME // 4] = 8
    plot_detection(replace(picture(16, 2), zero_dm=zero_dm), TITLE, TEXT, tmp_path / "zero.png")
    profile = panel(tmp_path / "zero.png", PROFILE)
    blue = np.abs(profile - to_rgb(BLUE)).max(axis=2) < 0.3
    top, left = np.argwhere(blue[: len(blue) // 2].any(axis=1)), np.argwhere(blue[:60].any(axis=0))
    assert len(top) > 5
    assert np.abs(left / profile.shape[1] - 0.25).max() < 0.02


@pytest.mark.parametrize("letter", ["W", "i", "_", "$", "\\", "\u5929"])
def test_nothing_overlaps_however_long_the_names(tmp_path: Path, letter: str) -> None:
    text = dict.fromkeys(TEXT, letter * 30) | {"DM": "12345.67 ± 1234.56 pc cm⁻³"}
    long = (letter * 64, f"beam 12345  |  source {letter * 80}")
    plot_detection(picture(16, 2), (), {}, tmp_path / "bare.png")
    plot_detection(picture(16, 2), long, text, tmp_path / "long.png")
    page, bare = pixels(tmp_path / "long.png"), pixels(tmp_path / "bare.png")
    printed = np.abs(page - bare).max(axis=2) > 0.05
    assert not printed[:, 990:].any(), "it ends on the page"
    assert not printed[75:, :620].any(), "it keeps off the panels on the left"
    assert not printed[340:].any(), "... and off the image"
    assert printed[:75].any()
    lines = printed[:75].any(axis=1).astype(int)
    assert (np.diff(lines) == 1).sum() >= 2, "two lines, apart"


def test_words_tell_what_a_shift_asks_first() -> None:
    message = detection_message()
    words = caption(message, snr_zero_dm=3.25)
    assert list(words)[:3] == ["S/N", "DM (pc cm⁻³)", "S/N at DM 0"]
    assert words["S/N at DM 0"] == "3.2"
    assert words["MJD"] == f"{message.mjd:.9f}"
    utc = datetime.fromisoformat(words["UTC"]).replace(tzinfo=UTC)
    seconds = (message.mjd - 40587) * 86400  # the MJD of 1970-01-01
    assert utc.timestamp() == pytest.approx(seconds, abs=0.0006)
    name, rest = title(message)
    assert name == message.stream
    assert f"beam {message.beam}" in rest
    assert message.source_name in rest
    assert "seen in" not in words
    assert message.f_lo_mhz is not None
    assert message.f_hi_mhz is not None
    rounded = message.model_copy(
        update={"f_lo_mhz": message.f_lo_mhz + 4e-7, "f_hi_mhz": message.f_hi_mhz - 4e-7}
    )
    assert "seen in" not in caption(rounded, snr_zero_dm=3.25), "messages round"


def test_words_tell_the_part_of_the_band() -> None:
    message = detection_message(channels=(84, 168))
    assert message.f_lo_mhz is not None
    assert caption(message, snr_zero_dm=3.25)["seen in"] == (
        f"{message.f_lo_mhz:.1f} to {message.f_hi_mhz:.1f} MHz"
    )


@pytest.mark.parametrize(("nsub", "ntime", "res"), [(1, 16, 32), (32, 4096, 256), (1024, 64, 128)])
def test_any_shape_is_drawn(tmp_path: Path, nsub: int, ntime: int, res: int) -> None:
    rng = np.random.default_rng(3)
    shape = replace(
        picture(8, 4),
        waterfall=rng.standard_normal((nsub, ntime)).astype(np.float32),
        profile=np.zeros(ntime, np.float32),
        zero_dm=np.zeros(ntime, np.float32),
        time_ms=centred(ntime),
        freqs_mhz=1400.0 - np.arange(nsub, dtype=np.float64),
        image=np.zeros((res, res), np.float32),
        image_time_ms=centred(res),
        image_dm=100.0 + np.arange(res, dtype=np.float64),
    )
    plot_detection(shape, (), {}, tmp_path / "shape.png")
    assert spectrum(tmp_path / "shape.png").std() > 0.05


def test_single_bright_sample_survives_the_page(tmp_path: Path) -> None:
    ntime = 4001
    waterfall = np.random.default_rng(4).standard_normal((16, ntime)).astype(np.float32)
    waterfall[:, ntime // 2] += 30
    long = replace(
        picture(8, 4),
        waterfall=waterfall,
        profile=waterfall.sum(axis=0) / np.float32(4),
        zero_dm=np.zeros(ntime, np.float32),
        time_ms=centred(ntime),
        freqs_mhz=1400.0 - np.arange(16, dtype=np.float64),
        width_ms=TSAMP_S * 1e3,
    )
    plot_detection(long, TITLE, TEXT, tmp_path / "long.png")
    columns = spectrum(tmp_path / "long.png").mean(axis=(0, 2))
    assert abs(int(columns.argmax()) - len(columns) // 2) <= 3
    assert columns.max() > columns.mean() + 6 * columns.std()


def test_picture_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "taken.png"
    path.mkdir()
    with pytest.raises(SinkError, match=r"taken\.png"):
        plot_detection(picture(8, 4), TITLE, TEXT, path)
    with pytest.raises(SinkError, match="nowhere"):
        plot_detection(picture(8, 4), TITLE, TEXT, tmp_path / "nowhere" / "a.png")
    assert list(tmp_path.iterdir()) == [path]


def test_drawing_needs_no_window(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from mlppa.plots import plot_found\n"
        "assert 'matplotlib' not in sys.modules\n"
        f"plot_found([], [], Path({str(tmp_path / 'empty.png')!r}))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60)
    assert pixels(tmp_path / "empty.png").shape == (700, 1000, 3)


@dataclass(frozen=True)
class Pulse:
    time_s: float
    dm: float
    snr: float


def test_found_missed_and_false_are_told_apart(tmp_path: Path) -> None:
    truth = [Pulse(t, 50.0 * t, 10.0 + t) for t in range(1, 9)]
    all_found = [(pulse, replace(pulse, snr=pulse.snr * 1.05)) for pulse in truth]
    one_missed = [*all_found[:-1], (truth[-1], None)]
    plot_found(all_found, [], tmp_path / "all.png")
    plot_found(one_missed, [], tmp_path / "missed.png")
    plot_found(all_found, [Pulse(4.5, 300.0, 9.0)], tmp_path / "false.png")
    for name, missed, false in (("all", 0, 0), ("missed", 1, 0), ("false", 0, 1)):
        panels = pixels(tmp_path / f"{name}.png")[60:]  # below the legend
        assert has_colour(panels, BLUE)
        assert has_colour(panels, ACCENT) == missed
        assert has_colour(panels, PURPLE) == false
