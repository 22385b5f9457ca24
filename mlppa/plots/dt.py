"""How long networks take for an image."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from .page import FAINT, page, ruled, save

#: Bins of the histograms, evenly in the logarithm.
BINS = 90


def plot_dt(
    timings: Mapping[int, Mapping[str, Sequence[float]]], budget_us: float | None, path: Path
) -> None:
    """Draw histograms of dT, a panel for each resolution.

    Parameters
    ----------
    timings
        By resolution, and by what was timed: microseconds an image, of every call.
    budget_us
        How long an image may take in real time; None for no line.
    path
        The PNG.

    Raises
    ------
    SinkError
        Where it cannot be written.
    """
    from matplotlib import colormaps

    figure = page((11.0, 1.2 + 2.1 * len(timings)))
    panels = figure.subplots(len(timings), 1, sharex=True, squeeze=False)[:, 0]
    figure.subplots_adjust(
        left=0.085, right=0.72, bottom=0.8 / figure.get_figheight(), top=0.98, hspace=0.1
    )
    every = np.concatenate([np.asarray(one) for of in timings.values() for one in of.values()])
    edges = np.geomspace(0.7 * every.min(), 1.4 * every.max(), BINS)
    for axes, (res, ways) in zip(panels, timings.items(), strict=True):
        for number, (name, spent) in enumerate(ways.items()):
            share = np.full(len(spent), 1 / len(spent))
            label = f"{name}: {_plain(np.median(spent))} µs"
            axes.hist(
                spent, edges, weights=share, histtype="stepfilled", alpha=0.6,
                color=colormaps["tab20"](number % 20), label=label,
            )  # fmt: skip
        if budget_us is not None:
            axes.axvline(budget_us, color=FAINT, linestyle=":")
            axes.text(
                budget_us, 0.97, " real time", color=FAINT, fontsize=10, ha="left", va="top",
                transform=axes.get_xaxis_transform(),
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_ylabel(f"{_images(res)}\nshare of calls", fontsize=12)
        axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.02))
    ruled(*panels)
    panels[-1].set_xlabel("dT for an image (µs)", fontsize=13)
    save(figure, path)


def _images(res: int) -> str:
    return f"{res} pixels" if res else "no images"


def _plain(number: float | np.floating) -> str:
    """Write a number to three digits without a power of ten."""
    return f"{float(f'{number:.3g}'):,g}"


def by_resolution[T](timings: Sequence[tuple[int, str, T]]) -> dict[int, dict[str, T]]:
    """Sort (resolution, name, value) into panels, the largest images first."""
    ordered = sorted(timings, key=lambda one: -one[0])
    return {
        res: {name: value for _, name, value in group}
        for res, group in groupby(ordered, lambda one: one[0])
    }
