"""A contact sheet: some images of every class, side by side."""

from collections.abc import Iterator, Mapping
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


def _spreads(images: NDArray[np.floating]) -> Iterator[NDArray[np.floating]]:
    """Bring each image to zero mean and unit spread."""
    for image in images.astype(np.float32):
        yield (image - image.mean()) / max(float(image.std()), 1e-6)
