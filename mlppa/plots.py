"""Pictures for people: one detection at a glance, and what a demo found.

Matplotlib is imported when the first picture is drawn; no window system is needed.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .data import Float32Array, Picture
from .errors import SinkError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

type Axis = NDArray[np.float64]

SIZE_INCHES = (10.0, 7.0)
DPI = 100
#: In the spectrum, what the pulse has in one pixel if averaging can bring it there.
SNR_OF_PIXEL = 2.5
#: Pixels that the spectrum has room for on the page.
SHOWN_COLUMNS, SHOWN_ROWS = 500, 400
INK = "#1b1f24"
FAINT = "#6a737d"
ACCENT = "#d55e00"  # vermillion: told from blue and grey with any colour vision
BLUE = "#0072b2"


class Burst(Protocol):
    """What has an arrival time, a DM and an S/N: a pulse put in, or one found."""

    @property
    def time_s(self) -> float:
        """Arrival at the centre of the highest channel, in seconds since sample 0."""

    @property
    def dm(self) -> float:
        """In pc cm^-3."""

    @property
    def snr(self) -> float:
        """Matched-filter signal to noise."""


def plot_detection(picture: Picture, text: Mapping[str, str], path: Path) -> None:
    """Draw one detection: spectrum, profile, DM-time image and its figures.

    Parameters
    ----------
    picture
        Intensities in units of noise, with their axes. NaN, or a sub-band that is
        zero throughout, shows as no data.
    text
        Names and values, printed in this order, the first two in large type.
    path
        The PNG, 1000 x 700 pixels; it appears whole or not at all.

    Raises
    ------
    SinkError
        Where the picture cannot be written.
    """
    figure = _figure()
    spectrum = figure.add_axes((0.075, 0.085, 0.5, 0.58))
    profile = figure.add_axes((0.075, 0.685, 0.5, 0.28), sharex=spectrum)
    image = figure.add_axes((0.67, 0.085, 0.31, 0.46))
    _draw_profile(profile, picture)
    _draw_spectrum(spectrum, picture)
    _draw_image(image, picture)
    _draw_text(figure, text)
    _save(figure, path)


def plot_found(truth: Sequence[Burst], found: Sequence[Burst], path: Path) -> None:
    """Draw what was put into a sky over what was found in it.

    Parameters
    ----------
    truth, found
        The pulses put in, and the detections.
    path
        The PNG; it appears whole or not at all.

    Raises
    ------
    SinkError
        Where the picture cannot be written.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    figure = _figure()
    dm, snr = figure.subplots(2, 1, sharex=True)
    figure.subplots_adjust(left=0.075, right=0.98, bottom=0.085, top=0.93, hspace=0.06)
    for bursts, label, style in (
        (truth, "put in", {"marker": "o", "s": 130, "facecolors": "none", "edgecolors": BLUE}),
        (found, "found", {"marker": "x", "s": 45, "color": ACCENT}),
    ):
        time_s = [burst.time_s for burst in bursts]
        label = f"{len(bursts)} {label}"
        dm.scatter(time_s, [burst.dm for burst in bursts], label=label, linewidths=1.6, **style)
        snr.scatter(time_s, [burst.snr for burst in bursts], linewidths=1.6, **style)
    dm.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False)
    dm.set_ylabel("DM (pc cm$^{-3}$)")
    snr.set_ylabel("S/N")
    if truth or found:
        snr.set_yscale("log")
        snr.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        snr.yaxis.set_major_formatter("{x:g}")
        snr.yaxis.set_minor_locator(NullLocator())
    snr.set_xlabel("time since the first sample (s)")
    _save(figure, path)


def _figure() -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=SIZE_INCHES, dpi=DPI, facecolor="white")


def _draw_profile(axes: "Axes", picture: Picture) -> None:
    half_ms = picture.width_ms / 2
    axes.axvspan(-half_ms, half_ms, color=ACCENT, alpha=0.25, linewidth=0)
    axes.step(picture.time_ms, picture.profile, where="mid", color=INK, linewidth=1)
    axes.margins(x=0)
    axes.set_ylabel("S/N per sample")
    axes.tick_params(labelbottom=False)


def _draw_spectrum(axes: "Axes", picture: Picture) -> None:
    pixels, time_ms, freqs_mhz = _visible(picture)
    _draw_pixels(axes, pixels, (time_ms, freqs_mhz))
    axes.set_xlabel("time after arrival (ms)")
    axes.set_ylabel("frequency (MHz)")


def _visible(picture: Picture) -> tuple[Float32Array, Axis, Axis]:
    """Average the spectrum until the pulse stands out of the noise of a pixel, if it can."""
    on = np.abs(picture.time_ms) <= picture.width_ms / 2
    width = max(1, int(on.sum()))
    snr = float(picture.profile[on].sum()) / np.sqrt(width)
    rising = np.argsort(picture.freqs_mhz)
    values = np.nan_to_num(picture.waterfall[rising])
    nsub, ntime = values.shape
    columns = max(1, width // 2, math.ceil(ntime / SHOWN_COLUMNS))
    rows_wanted = max(8.0, (snr / SNR_OF_PIXEL) ** 2 * columns / width)
    rows = max(1, int(nsub / rows_wanted), math.ceil(nsub / SHOWN_ROWS))

    recorded = np.broadcast_to(np.any(values != 0, axis=1, keepdims=True), values.shape)
    total, count = (_binned(_binned(a, rows).T, columns).T for a in (values, recorded))
    pixels = np.divide(total, np.sqrt(count), out=np.full_like(total, np.nan), where=count > 0)
    return (
        pixels.astype(np.float32),
        _binned(picture.time_ms, columns) / columns,
        _binned(picture.freqs_mhz[rising], rows) / rows,
    )


def _binned(values: ArrayLike, factor: int) -> NDArray[np.float64]:
    """Sum neighbours along the first axis; what does not fill a bin is left out."""
    numbers = np.asarray(values, np.float64)
    whole = len(numbers) // factor * factor
    return numbers[:whole].reshape(-1, factor, *numbers.shape[1:]).sum(axis=1)


def _draw_image(axes: "Axes", picture: Picture) -> None:
    _draw_pixels(axes, picture.image, (picture.image_time_ms, picture.image_dm))
    _point_at(axes.axvline, 0.0, 0.1)
    _point_at(axes.axhline, picture.dm, 0.1)
    axes.set_xlabel("time after arrival (ms)")
    axes.set_ylabel("DM (pc cm$^{-3}$)")


def _point_at(draw_line: Callable[..., object], place: float, length: float) -> None:
    """Mark a place from the edges, so that what is there stays free to be seen."""
    for low, high in ((0, length), (1 - length, 1)):
        draw_line(place, low, high, color="white", linewidth=2)


def _draw_pixels(axes: "Axes", pixels: Float32Array, centres: tuple[Axis, Axis]) -> None:
    """Draw an image whose rows and columns have these centres (x, y)."""
    from matplotlib import colormaps

    low, high = _colour_range(pixels)
    axes.imshow(
        pixels,
        cmap=colormaps["viridis"].with_extremes(bad="#d0d4d8"),
        vmin=low,
        vmax=high,
        extent=(*_edges(centres[0]), *_edges(centres[1])),
        origin="lower",
        interpolation="nearest",
        aspect="auto",
    )


def _edges(centres: Axis) -> tuple[float, float]:
    half = (centres[-1] - centres[0]) / (len(centres) - 1) / 2 if len(centres) > 1 else 0.5
    return float(centres[0] - half), float(centres[-1] + half)


def _colour_range(pixels: Float32Array) -> tuple[float, float]:
    """Noise in the dark third of the map, the brightest half per cent at its end."""
    known = pixels[np.isfinite(pixels)]
    if not known.size:
        return 0.0, 1.0
    middle = float(np.median(known))
    noise = 1.4826 * float(np.median(np.abs(known - middle)))
    high = max(float(np.quantile(known, 0.995)), middle + 3 * noise)
    return middle - 1.5 * noise, max(high, middle + 1e-6)


def _draw_text(figure: "Figure", text: Mapping[str, str]) -> None:
    name_x, value_x, y, bottom = 0.61, 0.725, 0.965, 0.59
    step = min(0.038, (y - bottom) / (len(text) + 1))
    for row, (name, value) in enumerate(text.items()):
        large = row < 2
        y -= step * (1.3 if large else 1)
        figure.text(name_x, y, name, color=FAINT, fontsize=11)
        figure.text(value_x, y, value, color=INK, fontsize=16 if large else 11, weight="bold")


def _save(figure: "Figure", path: Path) -> None:
    png = BytesIO()
    figure.savefig(png, format="png")
    unfinished = path.with_name(f".{path.name}.part")
    try:
        with unfinished.open("wb") as file:
            file.write(png.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise SinkError(
            path, error.strerror or str(error), "make room or choose another folder"
        ) from error
