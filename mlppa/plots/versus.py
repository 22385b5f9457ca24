"""Models against a search without a network."""

from collections.abc import Mapping
from pathlib import Path

from .page import ACCENT, BLUE, NO_DATA, PURPLE, page, save

#: What is counted of each model: its place in a row, its name and its colour; in the order in
#: which bars are put together.
FOUND = (
    (0, "pulses of the search alone, confirmed", BLUE),
    (2, "pulses of the search alone, not confirmed", NO_DATA),
    (1, "pulses found additionally", PURPLE),
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
    height = 2.2 + 0.4 * len(rows)
    figure = page((10.0, height))
    axes = figure.subplots()
    figure.subplots_adjust(left=0.16, right=0.97, bottom=0.75 / height, top=1 - 0.95 / height)
    names = list(rows)[::-1]
    axes.barh(
        names, [-rows[name][3] for name in names], color=ACCENT, label="others taken for pulses"
    )
    base = [0] * len(names)
    for part, label, colour in FOUND:
        counts = [rows[name][part] for name in names]
        axes.barh(names, counts, left=base, color=colour, label=label)
        base = [low + count for low, count in zip(base, counts, strict=True)]
    axes.axvline(reference, color="black", linewidth=1.2, linestyle=":", label="the search alone")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.xaxis.set_major_formatter(lambda count, _: f"{abs(count):g}")
    axes.set_xlabel("candidates (others than pulses to the left)", fontsize=13)
    figure.legend(loc="upper center", ncols=2, frameon=False, fontsize=10)
    save(figure, path)
