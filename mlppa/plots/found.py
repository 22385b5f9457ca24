"""What was put into a sky, and what was found in it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .page import ACCENT, BLUE, INK, PURPLE, page, ruled, save

if TYPE_CHECKING:
    from ..simulate import Found


def plot_found(
    pairs: Sequence[tuple["Found", "Found | None"]], false: Sequence["Found"], path: Path
) -> None:
    """Draw what was put into a sky and what was found in it; see `simulate.match`.

    Parameters
    ----------
    pairs
        Every pulse put in, with its detection or None.
    false
        Detections that no pulse explains.
    path
        The PNG, 1000 x 700 pixels; it appears whole or not at all.

    Raises
    ------
    SinkError
        Where the picture cannot be written.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    put_in = [pulse for pulse, _ in pairs]
    found = [detection for _, detection in pairs if detection]
    missed = [pulse for pulse, detection in pairs if not detection]
    figure = page()
    dm, snr = figure.subplots(2, 1, sharex=True)
    figure.subplots_adjust(left=0.09, right=0.98, bottom=0.095, top=0.925, hspace=0.06)
    for bursts, label, style in (
        (put_in, "put in", {"marker": "o", "s": 220, "facecolors": "none", "edgecolors": BLUE}),
        (found, "found", {"marker": "x", "s": 70, "color": INK}),
        (missed, "missed", {"marker": "s", "s": 480, "facecolors": "none", "edgecolors": ACCENT}),
        (false, "false", {"marker": "v", "s": 150, "color": PURPLE, "edgecolors": INK}),
    ):
        time_s = [burst.time_s for burst in bursts]
        label = f"{len(bursts)} {label}"
        dm.scatter(time_s, [burst.dm for burst in bursts], label=label, linewidths=2, **style)
        snr.scatter(time_s, [burst.snr for burst in bursts], linewidths=2, **style)
    dm.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4, frameon=False, fontsize=15,
        markerscale=0.8, columnspacing=3, handletextpad=0.2,
    )  # fmt: skip
    dm.set_ylabel("DM (pc cm$^{-3}$)", fontsize=14)
    snr.set_ylabel("S/N", fontsize=14)
    if pairs or false:
        snr.set_yscale("log")
        snr.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        snr.yaxis.set_major_formatter("{x:g}")
        snr.yaxis.set_minor_locator(NullLocator())
    snr.set_xlabel("time since the first sample (s)", fontsize=14)
    for axes in (dm, snr):
        axes.tick_params(labelsize=13)
        axes.margins(0.03, 0.1)
        ruled(axes)
        axes.set_axisbelow(True)
    save(figure, path)
