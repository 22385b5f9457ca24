"""An array as a source: what tests use for a telescope."""

from collections.abc import Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from ..data import Block, FilterbankHeader
from ..errors import InputError


class MemorySource:
    """Serve an array, cut into given pieces.

    Parameters
    ----------
    header
        What the array means.
    spectra
        Shape (nsamples, nchans), any number type.
    cuts
        Sizes of the pieces in samples. A negative one is a gap: those samples of
        the array are never served. What is left comes as one last piece.
    live
        Whether to pose as a live stream, whose length is not known.

    Raises
    ------
    InputError
        Where the array does not fit the header, or the pieces do not fit the array.
    """

    def __init__(
        self,
        header: FilterbankHeader,
        spectra: NDArray[Any],
        cuts: Sequence[int] = (),
        *,
        live: bool = False,
    ) -> None:
        if spectra.ndim != 2 or spectra.shape[1] != header.nchans:
            cause = f"has shape {spectra.shape}, but the header {header.nchans} channels"
            raise InputError("array", cause, "give an array of shape (nsamples, nchans)")
        left = len(spectra) - sum(map(abs, cuts))
        if left < 0:
            raise InputError("array", f"is {-left} samples shorter than its cuts", "cut less")
        self.header = header
        self.live = live
        self.nsamples = None if live else len(spectra)
        self._spectra = spectra
        self._cuts = (*cuts, left)
        self._closed = False

    def blocks(self) -> Iterator[Block]:
        """Give each piece as a copy, for whoever receives a block owns it."""
        start = 0
        for cut in self._cuts:
            if cut > 0 and not self._closed:
                yield Block(start, self._spectra[start : start + cut].copy())
            start += abs(cut)

    def close(self) -> None:
        """Let `blocks` end after the piece at hand."""
        self._closed = True
