"""Samples as they travel: in the number types that live inputs know."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Block, FilterbankHeader


def travelling(blocks: Iterable[Block]) -> Iterator[Block]:
    """Turn samples into the number types that heaps have: of 8, 16 or 32 bits.

    Signed samples of 8 bits are raised by 128. What carries no signal is NaN, or else 0 in
    every channel, which receivers mask.
    """
    for block in blocks:
        spectra = _as_sent(block.spectra)
        if block.valid is not None:
            spectra = spectra.copy()
            spectra[~block.valid] = np.nan if spectra.dtype.kind == "f" else 0
        yield Block(block.start, spectra)


def travelling_header(header: FilterbankHeader, spectra: NDArray[Any]) -> FilterbankHeader:
    """Tell the bits of samples as `travelling` gives them; fewer than 8 stay what they are."""
    nbits = spectra.dtype.itemsize * 8
    return replace(header, nbits=min(header.nbits, 8) if nbits == 8 else nbits)


def _as_sent(spectra: NDArray[Any]) -> NDArray[Any]:
    match spectra.dtype.name:
        case "uint8" | "uint16" | "float32":
            return spectra.astype(spectra.dtype.newbyteorder("<"), copy=False)
        case "int8":
            return spectra.view(np.uint8) ^ np.uint8(128)
        case _:
            return spectra.astype("<f4")
