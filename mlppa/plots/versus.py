"""Models against a search without a network."""

from collections.abc import Mapping
from pathlib import Path

from .page import ACCENT, BLUE, NO_DATA, PURPLE, page, save

#: What is counted of each model, its colour, and on which side of zero it stands.
PARTS = (
    ("found by the search alone, confirmed", BLUE, 1),
    ("found additionally, pulses", PURPLE, 1),
    ("found by the search alone, not confirmed", NO_DATA, 1),
    ("false", ACCENT, -1),
)


def plot_versus(rows: Mapping[str, tuple[int, int, int, int]], reference: int, path: Path) -> None:
    """Draw a bar for each model.

    Parameters
    ----------
    rows
        By model: pulses confirmed, pulses found additionally, pulses not confirmed, and
        others taken for pulses.
    reference
        Pulses that the search alone finds.
    path
        The PNG.

    Raises
    ------
    SinkError
        Where it cannot be written.
    """
    figure = page((10.0, 1.6 + 0.4 * len(rows)))
    axes = figure.subplots()
    figure.subplots_adjust(left=0.16, right=0.97, bottom=0.75 / figure.get_figheight(), top=0.9)
    names = list(rows)[::-1]
    base = [0] * len(names)
    for part, (label, colour, side) in enumerate(PARTS):
        counts = [rows[name][part] for name in names]
        if side > 0:
            axes.barh(names, counts, left=base, color=colour, label=label)
            base = [low + count for low, count in zip(base, counts, strict=True)]
        else:
            axes.barh(names, [-count for count in counts], color=colour, label=label)
    axes.axvline(reference, color="black", linewidth=0.8, linestyle=":")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("candidates (false ones to the left)", fontsize=13)
    figure.legend(loc="upper center", ncols=2, frameon=False, fontsize=10)
    save(figure, path)
