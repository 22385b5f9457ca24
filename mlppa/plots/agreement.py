"""What lists of another search say, and what became of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .page import ACCENT, BLUE, PURPLE, page, ruled, save

if TYPE_CHECKING:
    from ..wire import DetectionMessage


def plot_agreement(found: Sequence["DetectionMessage"], path: Path) -> None:
    """Draw S/N against DM and against time, coloured by the verdict.

    Parameters
    ----------
    found
        All candidates; what our search found and nobody confirmed is left out.
    path
        The PNG.

    Raises
    ------
    SinkError
        Where it cannot be written.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    listed = [one for one in found if one.proposed_by != "search"]
    kinds = (
        ([m for m in listed if m.label == "pulse"], "confirmed", BLUE, "o"),
        ([m for m in listed if m.label != "pulse"], "not confirmed", ACCENT, "x"),
        (
            [m for m in found if m.proposed_by == "search" and m.label == "pulse"],
            "found additionally",
            PURPLE,
            "^",
        ),
    )
    begin = min((m.mjd for some, *_ in kinds for m in some), default=0.0)
    figure = page((10.0, 7.5))
    by_dm, by_time = figure.subplots(2, 1)
    figure.subplots_adjust(left=0.09, right=0.98, bottom=0.085, top=0.93, hspace=0.28)
    for some, label, colour, marker in kinds:
        snrs = [max(m.snr, 1.0) for m in some]
        style = {"color": colour, "marker": marker, "s": 60, "linewidths": 1.8}
        by_dm.scatter([m.dm for m in some], snrs, label=f"{len(some)} {label}", **style)
        by_time.scatter([(m.mjd - begin) * 86400 for m in some], snrs, **style)
    by_dm.set_xlabel("DM (pc cm$^{-3}$)", fontsize=14)
    by_time.set_xlabel(f"time after MJD {begin:.6f} (s)", fontsize=14)
    for axes in (by_dm, by_time):
        axes.set_ylabel("S/N", fontsize=14)
        if any(some for some, *_ in kinds):
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_locator(NullLocator())
        axes.tick_params(labelsize=13)
        axes.margins(0.03, 0.1)
        axes.set_axisbelow(True)
    ruled(by_dm, by_time)
    by_dm.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False, fontsize=14)
    save(figure, path)
