"""One detection at a glance: always the same page, so that an eye can learn it."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..data import Float32Array, Picture
from .page import ACCENT, BLUE, FAINT, INK, NO_DATA, page, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from matplotlib.patheffects import AbstractPathEffect

type Axis = NDArray[np.float64]
type Box = tuple[float, float, float, float]

#: In the spectrum, what the pulse has in one pixel if averaging can bring it there.
SNR_OF_PIXEL = 2.5
#: Pixels that the spectrum has room for on the page.
SHOWN_COLUMNS, SHOWN_ROWS = 460, 390

#: Where things are, in fractions of the page: left, bottom, width, height.
PROFILE: Box = (0.075, 0.665, 0.46, 0.2)
SPECTRUM: Box = (0.075, 0.085, 0.46, 0.565)
IMAGE: Box = (0.7, 0.085, 0.215, 0.41)
NAMES_X, VALUES_X, RIGHT, TOP = 0.63, 0.765, 0.985, 0.865


def plot_detection(
    picture: Picture, title: Sequence[str], text: Mapping[str, str], path: Path
) -> None:
    """Draw one detection: spectrum, profile, DM-time image and its figures.

    Parameters
    ----------
    picture
        Intensities in units of noise, with their axes. NaN shows as no data.
    title
        Lines above all, the first one in large type. What is long is printed smaller.
    text
        Names and values, printed in this order, the first two in large type.
    path
        The PNG, 1000 x 700 pixels; it appears whole or not at all.

    Raises
    ------
    SinkError
        Where the picture cannot be written.
    """
    figure = page()
    spectrum = figure.add_axes(SPECTRUM)
    profile = figure.add_axes(PROFILE, sharex=spectrum)
    image = figure.add_axes(IMAGE)
    _draw_profile(profile, picture)
    _draw_spectrum(spectrum, picture)
    _draw_image(image, picture)
    _draw_title(figure, title)
    _draw_text(figure, text)
    save(figure, path)


def _draw_profile(axes: "Axes", picture: Picture) -> None:
    from matplotlib.patches import Patch

    half_ms, (low, high) = picture.width_ms / 2, _edges(picture.time_ms)
    unknown = np.isnan(picture.profile)
    axes.fill_between(
        np.linspace(low, high, len(unknown) + 1),
        *(0, 1),
        where=np.append(unknown, unknown[-1:]),
        step="post",
        transform=axes.get_xaxis_transform(),
        **_no_data(),
    )
    width = axes.axvspan(-half_ms, half_ms, color=ACCENT, alpha=0.3, linewidth=0)
    (line,) = axes.step(picture.time_ms, picture.profile, where="mid", color=INK, linewidth=1.6)
    (zero,) = axes.step(picture.time_ms, picture.zero_dm, where="mid", color=BLUE, linewidth=0.8)
    axes.set_xlim(low, high)
    axes.set_ylim(_profile_range(picture))
    axes.set_ylabel(f"S/N in {_step(picture.time_ms):.3g} ms")
    axes.tick_params(labelbottom=False)
    axes.legend(
        (line, width, zero, Patch(**_no_data())),
        (f"DM {picture.dm:.2f}", "width", "DM 0", "no data"),
        loc="lower left", bbox_to_anchor=(0, 0.97), ncols=4, frameon=False, borderaxespad=0,
    )  # fmt: skip


def _no_data() -> dict[str, Any]:
    return {"facecolor": NO_DATA, "edgecolor": "white", "hatch": "////", "linewidth": 0}


def _profile_range(picture: Picture) -> tuple[float, float]:
    """Room for the pulse; interference beside it may leave the panel."""
    profile, zero = (a[np.isfinite(a)] for a in (picture.profile, picture.zero_dm))
    if not profile.size:
        return -1.0, 1.0
    low, high = min(float(profile.min()), -1.0), max(float(profile.max()), 1.0)
    if zero.size:
        low = min(low, max(float(zero.min()), -0.5 * high))
        high = max(high, min(float(zero.max()), 1.5 * high))
    return low - 0.05 * (high - low), high + 0.05 * (high - low)


def _draw_spectrum(axes: "Axes", picture: Picture) -> None:
    pixels, pixel_ms, pixel_mhz = _visible(picture)
    rising = np.sort(picture.freqs_mhz)
    mapped = _draw_pixels(axes, pixels, (picture.time_ms, rising))
    _draw_scale(axes, mapped, f"S/N in {pixel_ms:.3g} ms by {pixel_mhz:.3g} MHz")
    axes.set_xlabel("time after arrival (ms)")
    axes.set_ylabel("frequency (MHz)")


def _visible(picture: Picture) -> tuple[Float32Array, float, float]:
    """Average the spectrum until the pulse stands out of the noise of a pixel, if it can.

    Returns
    -------
    pixels
        The averages where they were taken, same shape, the lowest frequency first.
    pixel_ms, pixel_mhz
        What was averaged over.
    """
    on = np.flatnonzero(np.abs(picture.time_ms) <= picture.width_ms / 2)
    width, first = max(1, len(on)), int(on[0]) if len(on) else 0
    snr = float(np.nansum(picture.profile[on])) / np.sqrt(width)
    nsub, ntime = picture.waterfall.shape
    columns = max(1, width // 2, math.ceil(ntime / SHOWN_COLUMNS))
    rows_wanted = max(8.0, (snr / SNR_OF_PIXEL) ** 2 * columns / width)
    rows = max(1, int(nsub / rows_wanted), math.ceil(nsub / SHOWN_ROWS))
    pixels = picture.waterfall[np.argsort(picture.freqs_mhz)].astype(np.float64)
    pixels = _averaged(_averaged(pixels, rows, 0).T, columns, first).T
    pixel_ms, pixel_mhz = columns * _step(picture.time_ms), rows * _step(picture.freqs_mhz)
    return pixels.astype(np.float32), pixel_ms, pixel_mhz


def _averaged(values: Axis, factor: int, boundary: int) -> Axis:
    """Average so many rows at a time, one group beginning at ``boundary``; keep unit noise."""
    groups = np.unique([0, *range(boundary % factor, len(values), factor)])
    count = np.add.reduceat(np.isfinite(values).astype(np.float64), groups)
    total = np.add.reduceat(np.nan_to_num(values), groups)
    means = np.divide(total, np.sqrt(count), out=np.full_like(total, np.nan), where=count > 0)
    return np.repeat(means, np.diff([*groups, len(values)]), axis=0)


def _draw_image(axes: "Axes", picture: Picture) -> None:
    low, high = _edges(picture.image_dm)
    mapped = _draw_pixels(axes, picture.image, (picture.image_time_ms, picture.image_dm))
    if low < 0 < high:
        axes.axhline(0.0, color="white", linewidth=1, linestyle="--", path_effects=_outline(2))
        axes.annotate(
            *("DM 0", (0.89, 0), (0, 2)),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            ha="right",
            color="white",
            path_effects=_outline(2),
        )
    _point_at(axes.axvline, 0.0, 0.1)
    _point_at(axes.axhline, picture.dm, 0.1)
    _draw_scale(axes, mapped, f"S/N in {_step(picture.image_time_ms):.3g} ms")
    axes.ticklabel_format(axis="y", useOffset=False, style="plain")
    axes.locator_params(nbins=5)
    axes.set_xlabel("time after arrival (ms)")
    axes.set_ylabel("DM (pc cm$^{-3}$)", labelpad=2)


def _point_at(draw_line: Callable[..., object], place: float, length: float) -> None:
    """Mark a place from the edges, so that what is there stays free to be seen."""
    for low, high in ((0, length), (1 - length, 1)):
        draw_line(place, low, high, color="white", linewidth=2, path_effects=_outline(4))


def _outline(linewidth: float) -> list["AbstractPathEffect"]:
    """Let white be seen on any colour."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=linewidth, foreground=INK)]


def _draw_pixels(axes: "Axes", pixels: Float32Array, centres: tuple[Axis, Axis]) -> "AxesImage":
    """Draw an image whose rows and columns have these centres (x, y)."""
    from matplotlib import colormaps

    low, high = _colour_range(pixels)
    axes.patch.set(**_no_data())
    return axes.imshow(
        np.ma.masked_invalid(pixels),
        cmap=colormaps["viridis"].with_extremes(bad=(0, 0, 0, 0)),
        vmin=low,
        vmax=high,
        extent=(*_edges(centres[0]), *_edges(centres[1])),
        origin="lower",
        interpolation="nearest",
        aspect="auto",
    )


def _draw_scale(axes: "Axes", mapped: "AxesImage", label: str) -> None:
    """Draw a slim colour bar beside an image."""
    box = axes.get_position()
    beside = axes.figure.add_axes((box.x1 + 0.007, box.y0, 0.01, box.height))
    bar = axes.figure.colorbar(mapped, cax=beside)
    bar.ax.tick_params(labelsize=9, pad=2, length=2)
    bar.set_label(label, labelpad=2)


def _step(centres: Axis) -> float:
    return float(abs(centres[-1] - centres[0]) / (len(centres) - 1)) if len(centres) > 1 else 1.0


def _edges(rising: Axis) -> tuple[float, float]:
    half = _step(rising) / 2
    return float(rising[0] - half), float(rising[-1] + half)


def _colour_range(pixels: Float32Array) -> tuple[float, float]:
    """Noise in the dark third of the map, the brightest half per cent at its end."""
    known = pixels[np.isfinite(pixels)]
    if not known.size:
        return 0.0, 1.0
    middle = float(np.median(known))
    noise = 1.4826 * float(np.median(np.abs(known - middle)))
    high = max(float(np.quantile(known, 0.995)), middle + 3 * noise)
    return middle - 1.5 * noise, max(high, middle + 1e-6)


def _draw_title(figure: "Figure", lines: Sequence[str]) -> None:
    left, y = PROFILE[0], 0.955
    for row, line in enumerate(lines):
        place = (left, y - 0.036 * row, RIGHT - left)
        if row:
            _print(figure, place, line, 11, color=FAINT)
        else:
            _print(figure, place, line, 15, color=INK, weight="bold")


def _draw_text(figure: "Figure", text: Mapping[str, str]) -> None:
    y = TOP
    step = min(0.038, (y - IMAGE[1] - IMAGE[3] - 0.03) / (len(text) + 0.6))
    for row, (name, value) in enumerate(text.items()):
        large = row < 2
        y -= step * (1.3 if large else 1)
        _print(figure, (NAMES_X, y, VALUES_X - NAMES_X - 0.01), name, 11, color=FAINT)
        place = (VALUES_X, y, RIGHT - VALUES_X)
        _print(figure, place, value, 16 if large else 11, color=INK, weight="bold")


def _print(
    figure: "Figure",
    place: tuple[float, float, float],
    text: str,
    size: float,
    **style: Any,
) -> None:
    """Print one line from (x, y) on, smaller where it would be longer than its room."""
    from matplotlib.font_manager import findfont, get_font

    # names come from files: a $ in them is no formula, and the font may not have all of them
    font = get_font(findfont("DejaVu Sans"))
    shown = "".join(c if font.get_char_index(ord(c)) else "?" for c in text)
    x, y, room = place
    line = figure.text(x, y, shown, parse_math=False, fontsize=size, **style)
    # letters are set to whole pixels: a line shrinks by less than its letters
    while (over := line.get_window_extent().width / figure.bbox.width / room) > 1 and size > 1:
        size /= max(over, 1.02)
        line.set_fontsize(size)
