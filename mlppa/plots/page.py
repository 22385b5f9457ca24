"""The page of every picture: its size, its colours, and how it comes onto the disk."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from ..disk import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE_INCHES = (10.0, 7.0)
DPI = 100
INK = "#1b1f24"
FAINT = "#6a737d"
#: Told from each other with any colour vision.
ACCENT = "#d55e00"
BLUE = "#0072b2"
PURPLE = "#cc79a7"
#: No data: a grey that no colour map here has.
NO_DATA = "#d0d4d8"


def page(size_inches: tuple[float, float] = SIZE_INCHES) -> "Figure":
    """Give an empty page."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size_inches, dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def ruled(*every: "Axes") -> None:
    """Rule axes with faint lines."""
    for axes in every:
        axes.grid(color=NO_DATA, linewidth=0.5)


def save(figure: "Figure", path: Path) -> None:
    """Write a PNG that appears whole or not at all.

    Raises
    ------
    SinkError
        Where it cannot be written.
    """
    png = BytesIO()
    figure.savefig(png, format="png")
    write_whole(path, png.getbuffer().tobytes())
