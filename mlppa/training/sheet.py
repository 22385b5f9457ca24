"""A contact sheet of a set of images: some of every class."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..plots import plot_sheet
from .examples import CLASSES
from .shards import Dataset

#: Images of a class.
EACH = 10


def contact_sheet(dataset: Dataset, path: Path) -> None:
    """Draw some images of every class that a set has, from as many skies as may be.

    Raises
    ------
    SinkError
        Where the picture cannot be written.
    """
    some: dict[str, list[NDArray[np.floating]]] = {name: [] for name in CLASSES}
    for examples in dataset:
        for number, name in enumerate(CLASSES):
            here = np.flatnonzero(examples.facts["kind"] == number)
            skies = np.unique(examples.skies[here], return_index=True)[1]
            some[name] += list(examples.images[here[skies]])[: EACH - len(some[name])]
        if all(len(images) >= EACH for images in some.values()):
            break
    plot_sheet({name: np.array(images) for name, images in some.items() if images}, path)
