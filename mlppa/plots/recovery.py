"""What became of synthetic pulses: the sensitivity of a live stream."""

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from ..metrics import INJECTED_SNRS
from ..shares import wilson
from .page import ACCENT, BLUE, FAINT, page, ruled, save

if TYPE_CHECKING:
    from ..wire import InjectionMessage

#: What lies above the last edge is drawn up to here.
HIGHEST_SNR = 50.0


def plot_recovery(put: Sequence["InjectionMessage"], path: Path) -> None:
    """Draw the recovered fraction against S/N, and the S/N found against that put in.

    Parameters
    ----------
    put
        Synthetic pulses whose fate is known; those whose time was not searched are left out.
    path
        The PNG.

    Raises
    ------
    SinkError
        Where it cannot be written.
    """
    put = [one for one in put if one.reason != "not searched"]
    figure = page((10.0, 5.0))
    fractions, measured = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.08, right=0.98, bottom=0.13, top=0.9, wspace=0.24)
    edges = [*INJECTED_SNRS, math.inf]
    for low, high in pairwise(edges):
        some = [one for one in put if low <= one.snr < high]
        if not some:
            continue
        found = sum(one.found for one in some)
        middle = math.exp(sum(math.log(one.snr) for one in some) / len(some))
        below, above = wilson(found, len(some), 1.0)
        share = found / len(some)
        bars = [[max(share - below, 0)], [max(above - share, 0)]]
        fractions.errorbar(middle, share, bars, fmt="o", color=BLUE, markersize=8, capsize=3)
        fractions.annotate(
            f"{found}/{len(some)}",
            (middle, below),
            (0, -18),
            textcoords="offset points",
            ha="center",
        )
    fractions.set_ylim(-0.03, 1.06)
    fractions.set_ylabel("recovered fraction (bars: 68 %)", fontsize=13)
    for kind, colour, marker in ((True, BLUE, "o"), (False, ACCENT, "x")):
        some = [one for one in put if one.found is kind and one.found_snr is not None]
        measured.scatter(
            [one.snr for one in some],
            [one.found_snr for one in some],
            color=colour,
            marker=marker,
            s=30,
            label="found" if kind else "rejected",
        )
    measured.plot([5, HIGHEST_SNR], [5, HIGHEST_SNR], color=FAINT, linewidth=1, zorder=0)
    measured.set_ylabel("S/N measured", fontsize=13)
    measured.set_yscale("log")
    measured.legend(frameon=False, fontsize=12)
    for axes in (fractions, measured):
        axes.set_axisbelow(True)
        axes.set_xscale("log")
        axes.set_xlim(5, HIGHEST_SNR)
        axes.set_xticks([5, 7, 10, 15, 20, 30, 50], minor=False)
        axes.set_xticks([], minor=True)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("S/N put in", fontsize=13)
    measured.set_ylim(5, HIGHEST_SNR)
    measured.set_yticks([5, 7, 10, 15, 20, 30, 50], minor=False)
    measured.set_yticks([], minor=True)
    measured.yaxis.set_major_formatter("{x:g}")
    ruled(fractions, measured)
    found = sum(one.found for one in put)
    figure.suptitle(f"{found} of {len(put)} synthetic pulses found", fontsize=14)
    save(figure, path)
