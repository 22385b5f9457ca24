"""How good models are: curves of rates, recall in bins, and whether probabilities are true."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

from .page import FAINT, page, ruled, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

type Curve = tuple[NDArray[Any], ...]

#: Axes of recall, by what pulses are sorted by: their label, and whether it is logarithmic.
RECALL_AXES = {
    "snr": ("S/N", True),
    "width_ms": ("width (ms)", True),
    "dm": ("DM (pc cm$^{-3}$)", True),
    "band": ("part of the band that shines", False),
    "sweep_widths": ("sweep in widths", True),
}


class Rate(Protocol):
    """A share with its interval."""

    @property
    def of(self) -> int:
        """Of how many."""

    @property
    def value(self) -> float:
        """The share."""

    @property
    def interval(self) -> tuple[float, float]:
        """Where it may lie."""


def plot_roc(roc: Mapping[str, Curve], precision_recall: Mapping[str, Curve], path: Path) -> None:
    """Draw recall over the false-positive rate, and precision over recall.

    Parameters
    ----------
    roc
        False-positive rate and recall of each model.
    precision_recall
        Precision and recall of each.
    path
        The PNG.

    Raises
    ------
    SinkError
        Where it cannot be written.
    """
    figure = page((12.0, 5.5))
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.07, right=0.98, bottom=0.12, top=0.97, wspace=0.2)
    for name, (false, recall) in roc.items():
        left.plot(false, recall, label=name, **_style(name, roc))
    for name, (precision, recall) in precision_recall.items():
        right.plot(recall, precision, label=name, **_style(name, roc))
    left.set(xscale="log", xlim=(1e-4, 1), ylim=(0, 1.01))
    right.set(xlim=(0, 1.01), ylim=(0, 1.01))
    left.set_xlabel("others taken for pulses", fontsize=13)
    left.set_ylabel("pulses kept (recall)", fontsize=13)
    right.set_xlabel("pulses kept (recall)", fontsize=13)
    right.set_ylabel("pulses among what passes (precision)", fontsize=13)
    left.legend(frameon=False, fontsize=10, loc="lower right")
    ruled(left, right)
    save(figure, path)


def plot_recall(
    recalls: Mapping[str, Mapping[str, Sequence[tuple[float, float, Rate]]]], path: Path
) -> None:
    """Draw recall in bins of S/N, width, DM, part of the band and sweep, with intervals.

    Parameters
    ----------
    recalls
        By what pulses are sorted by, and by model: edges and recall of each bin.
    path
        The PNG.

    Raises
    ------
    SinkError
        Where it cannot be written.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = page((14.0, 8.5))
    grid = figure.subplots(2, 3, sharey=True)
    figure.subplots_adjust(left=0.06, right=0.98, bottom=0.08, top=0.97, wspace=0.06, hspace=0.25)
    for axes, (by, models) in zip(grid.flat, recalls.items(), strict=False):
        label, log = RECALL_AXES[by]
        for name, bins in models.items():
            _steps(axes, [one for one in bins if one[2].of], log, _style(name, models), name)
        if log:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if by == "snr" else (1,)))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(label, fontsize=13)
    ruled(*grid.flat)
    for axes in grid[:, 0]:
        axes.set_ylabel("pulses kept (recall)", fontsize=13)
    empty = grid[-1, -1]
    empty.axis("off")
    empty.legend(*grid[0, 0].get_legend_handles_labels(), loc="center", frameon=False, fontsize=11)
    save(figure, path)


def _steps(
    axes: "Axes",
    bins: Sequence[tuple[float, float, Rate]],
    log: bool,
    style: Mapping[str, Any],
    name: str,
) -> None:
    middles = [_middle(low, high) if log else (low + high) / 2 for low, high, _ in bins]
    values = [rate.value for *_, rate in bins]
    spread = [
        (max(v - rate.interval[0], 0), max(rate.interval[1] - v, 0))
        for v, (*_, rate) in zip(values, bins, strict=True)
    ]
    below, above = zip(*spread, strict=True) if spread else ((), ())
    axes.errorbar(middles, values, yerr=(below, above), capsize=2, label=name, **style)


def _middle(low: float, high: float) -> float:
    """Where a bin stands on a logarithmic axis; the first and the last have no true middle."""
    if low <= 0:
        return high / 1.6
    return float((low * min(high, 3 * low)) ** 0.5)


def plot_reliability(curves: Mapping[str, Curve], path: Path) -> None:
    """Draw how often what is called likely is true.

    Parameters
    ----------
    curves
        Mean probability, share of pulses and number of examples in each bin, by model.
    path
        The PNG.

    Raises
    ------
    SinkError
        Where it cannot be written.
    """
    figure = page((7.0, 8.0))
    true, count = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    figure.subplots_adjust(left=0.12, right=0.97, bottom=0.08, top=0.97, hspace=0.07)
    true.plot((0, 1), (0, 1), color=FAINT, linewidth=1, linestyle=":")
    for name, (said, share, number) in curves.items():
        some = number > 0
        true.plot(said[some], share[some], "o-", label=name, **_style(name, curves))
        count.plot(said[some], number[some], "o-", **_style(name, curves))
    count.set_yscale("log")
    true.set_ylabel("share of pulses", fontsize=13)
    count.set_ylabel("images", fontsize=13)
    count.set_xlabel("probability", fontsize=13)
    true.legend(frameon=False, fontsize=10)
    ruled(true, count)
    save(figure, path)


def _style(name: str, every: Mapping[str, object]) -> dict[str, Any]:
    """Give each model a colour of its own; the first one stands out."""
    from matplotlib import colormaps

    number = list(every).index(name)
    colour = colormaps["tab20" if len(every) > 10 else "tab10"](number)
    return {"color": colour, "linewidth": 2.2 if number == 0 else 1.0, "markersize": 4}
