import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from numpy.typing import NDArray

from mlppa.data import Float32Array, Picture
from mlppa.dispersion import channel_shape, dm_per_sample
from mlppa.errors import SinkError
from mlppa.plots import ACCENT, BLUE, plot_detection, plot_found

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
    "stream": "askap",
    "beam": "28",
}


def pixels(path: Path) -> NDArray[np.float64]:
    return np.asarray(imread(path), np.float64)[..., :3]


def spectrum(path: Path) -> NDArray[np.float64]:
    """The spectrum's panel, from a millimetre inside its frame."""
    return pixels(path)[245:630, 85:565]


def has_colour(panel: NDArray[np.float64], colour: str) -> bool:
    return bool((np.abs(panel - to_rgb(colour)).max(axis=2) < 0.02).any())


@pytest.mark.parametrize(("snr", "width"), [(8, 4), (16, 2), (500, 6)])
def test_faint_and_bright_pulses_show(tmp_path: Path, snr: float, width: int) -> None:
    path = tmp_path / "pulse.png"
    plot_detection(picture(snr, width), TEXT, path)
    assert pixels(path).shape == (700, 1000, 3)
    columns = spectrum(path).mean(axis=(0, 2))
    middle = slice(230, 250)
    off = np.delete(columns, np.arange(200, 280))
    assert columns[middle].max() > off.mean() + 4 * off.std()
    assert off.mean() < 0.5, "noise stays in the dark part of the map"


def test_channel_order_does_not_matter(tmp_path: Path) -> None:
    falling = picture(16, 2)
    rising = replace(falling, waterfall=falling.waterfall[::-1], freqs_mhz=falling.freqs_mhz[::-1])
    for name, either in (("falling", falling), ("rising", rising)):
        plot_detection(either, TEXT, tmp_path / f"{name}.png")
    np.testing.assert_array_equal(pixels(tmp_path / "falling.png"), pixels(tmp_path / "rising.png"))


def test_masked_sub_bands_show_as_no_data(tmp_path: Path) -> None:
    whole = picture(500, 6)
    waterfall = whole.waterfall.copy()
    waterfall[:10] = np.nan
    waterfall[10:20] = 0
    plot_detection(replace(whole, waterfall=waterfall), TEXT, tmp_path / "masked.png")
    plot_detection(whole, TEXT, tmp_path / "whole.png")
    grey = "#d0d4d8"
    assert has_colour(spectrum(tmp_path / "masked.png"), grey)
    assert not has_colour(spectrum(tmp_path / "whole.png"), grey)


@pytest.mark.parametrize(("nsub", "ntime", "res"), [(1, 16, 32), (32, 4096, 256), (1024, 64, 128)])
def test_any_shape_is_drawn(tmp_path: Path, nsub: int, ntime: int, res: int) -> None:
    rng = np.random.default_rng(3)
    shape = replace(
        picture(8, 4),
        waterfall=rng.standard_normal((nsub, ntime)).astype(np.float32),
        profile=np.zeros(ntime, np.float32),
        time_ms=centred(ntime),
        freqs_mhz=1400.0 - np.arange(nsub, dtype=np.float64),
        image=np.zeros((res, res), np.float32),
        image_time_ms=centred(res),
        image_dm=100.0 + np.arange(res, dtype=np.float64),
    )
    plot_detection(shape, {}, tmp_path / "shape.png")
    assert spectrum(tmp_path / "shape.png").std() > 0.05


def test_single_bright_sample_survives_the_page(tmp_path: Path) -> None:
    ntime = 4001
    waterfall = np.random.default_rng(4).standard_normal((16, ntime)).astype(np.float32)
    waterfall[:, ntime // 2] += 30
    long = replace(
        picture(8, 4),
        waterfall=waterfall,
        profile=waterfall.sum(axis=0) / np.float32(4),
        time_ms=centred(ntime),
        freqs_mhz=1400.0 - np.arange(16, dtype=np.float64),
        width_ms=TSAMP_S * 1e3,
    )
    plot_detection(long, TEXT, tmp_path / "long.png")
    columns = spectrum(tmp_path / "long.png").mean(axis=(0, 2))
    assert abs(int(columns.argmax()) - 240) <= 3
    assert columns.max() > columns.mean() + 6 * columns.std()


def test_picture_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "taken.png"
    path.mkdir()
    with pytest.raises(SinkError, match=r"taken\.png"):
        plot_detection(picture(8, 4), TEXT, path)
    with pytest.raises(SinkError, match="nowhere"):
        plot_detection(picture(8, 4), TEXT, tmp_path / "nowhere" / "a.png")
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


def test_what_was_found_lies_over_what_was_put_in(tmp_path: Path) -> None:
    truth = [Pulse(t, 50.0 * t, 10.0 + t) for t in range(1, 9)]
    found = [replace(pulse, snr=pulse.snr * 1.05) for pulse in truth[:-1]]
    plot_found(truth, found, tmp_path / "found.png")
    plot_found(truth, [], tmp_path / "missed.png")
    assert has_colour(pixels(tmp_path / "found.png"), BLUE)
    assert has_colour(pixels(tmp_path / "found.png"), ACCENT)
    assert not has_colour(pixels(tmp_path / "missed.png")[150:], ACCENT)
