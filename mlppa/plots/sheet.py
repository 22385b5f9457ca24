"""A contact sheet: some images of every class, side by side."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .page import NO_DATA, page, save

#: Images of a class.
COLUMNS = 10

#: Shown from and to, in units of an image's own noise.
LIMITS = (-3.0, 6.0)


def plot_sheet(classes: Mapping[str, NDArray[np.floating]], path: Path) -> None:
    """Draw one row for each class.

    Parameters
    ----------
    classes
        Images of each, shape (n, res, res).
    path
        The PNG.

    Raises
    ------
    SinkError
        Where it cannot be written.
    """
    figure = page((1.1 * COLUMNS + 2, 1.1 * len(classes) + 1))
    grid = figure.subplots(len(classes), COLUMNS, squeeze=False)
    figure.subplots_adjust(left=0.11, right=0.9, bottom=0.08, top=0.98, wspace=0.05, hspace=0.05)
    for row, (name, images) in zip(grid, classes.items(), strict=True):
        for axes in row:
            axes.set(xticks=[], yticks=[])
            axes.set_facecolor(NO_DATA)
        for axes, image in zip(row, _spreads(images[:COLUMNS]), strict=False):
            shown = axes.imshow(image, origin="lower", vmin=LIMITS[0], vmax=LIMITS[1])
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=14)
    res = next(iter(classes.values())).shape[1]
    figure.supxlabel(f"time: {res} pixels of $2^m$ samples", fontsize=14)
    figure.supylabel(f"DM: {res} pixels of sweep", fontsize=14)
    bar = figure.colorbar(shown, cax=figure.add_axes((0.915, 0.3, 0.015, 0.4)))
    bar.set_label("spreads of the image's pixels", fontsize=14)
    save(figure, path)


def plot_images(
    groups: Mapping[str, Sequence[tuple[str, NDArray[np.floating]]]], path: Path
) -> None:
    """Draw groups of images, each with its title, a line of `COLUMNS` after the other.

    Parameters
    ----------
    groups
        Titles and images, of shape (res, res), by the name of their group.
    path
        The PNG.

    Raises
    ------
    SinkError
        Where it cannot be written.
    """
    lines = [
        (name if first == 0 else "", some[first : first + COLUMNS])
        for name, some in groups.items()
        for first in range(0, len(some), COLUMNS)
    ]
    height = 1.7 * len(lines) + 0.9
    figure = page((1.25 * COLUMNS + 0.8, height))
    grid = figure.subplots(len(lines), COLUMNS, squeeze=False)
    figure.subplots_adjust(
        left=0.06,
        right=0.985,
        bottom=0.55 / height,
        top=1 - 0.75 / height,
        wspace=0.08,
        hspace=0.62,
    )
    for row, (name, some) in zip(grid, lines, strict=True):
        for axes in row[len(some) :]:
            axes.set_axis_off()
        for axes, (title, image) in zip(row, some, strict=False):
            (seen,) = _spreads(image[None])
            axes.imshow(seen, origin="lower", vmin=LIMITS[0], vmax=LIMITS[1])
            axes.set(xticks=[], yticks=[])
            axes.set_title(title, fontsize=9)
        row[0].text(
            0, 1.42, name, transform=row[0].transAxes, ha="left", fontsize=13, fontweight="bold"
        )
    res = len(next(iter(groups.values()))[0][1])
    figure.text(
        0.5, 0.12 / height, f"time: {res} pixels of $2^m$ samples", ha="center", fontsize=12
    )
    figure.text(
        0.012, 0.5, f"DM: {res} pixels of sweep", va="center", rotation="vertical", fontsize=12
    )
    save(figure, path)


def _spreads(images: NDArray[np.floating]) -> Iterator[NDArray[np.floating]]:
    """Bring each image to zero mean and unit spread."""
    for image in images.astype(np.float32):
        yield (image - image.mean()) / max(float(image.std()), 1e-6)
