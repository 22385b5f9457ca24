"""Simulated pulses in recorded data: what a telescope really adds stays as it is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Block, FilterbankHeader, Float32Array
from .pulse import Pulse, shape_pulse


@dataclass(slots=True)
class HybridSource:
    """Recorded spectra with pulses put in, as a source of the pipeline; never live.

    Parameters
    ----------
    header
        Of the recording.
    spectra
        The recording, shape (nsamples, nchans), as it was read.
    pulses
        What to put in. A pulse's S/N counts in the noise of the recording, channel by
        channel; one without any noise gets nothing.
    block_nsamples
        Length of a block.
    """

    header: FilterbankHeader
    spectra: NDArray[np.generic]
    pulses: Sequence[Pulse]
    block_nsamples: int = 4096
    live: bool = False
    _closed: bool = field(default=False, init=False)

    @property
    def nsamples(self) -> int:
        """Length of the recording in samples."""
        return len(self.spectra)

    def blocks(self) -> Iterator[Block]:
        """Give the blocks in order, until the end or until `close`."""
        mixed = self._mixed()
        for start in range(0, len(mixed), self.block_nsamples):
            if self._closed:
                return
            yield Block(start, mixed[start : start + self.block_nsamples].copy())

    def close(self) -> None:
        """End the blocks after the one in progress."""
        self._closed = True

    def _mixed(self) -> NDArray[np.generic]:
        """Add the pulses, and round and cut off as the recording was."""
        recorded: NDArray[Any] = self.spectra
        added = np.zeros(recorded.shape, np.float32)
        for pulse in self.pulses:
            shape_pulse(pulse, self.header).add_to(added, 0)
        added *= _noise(recorded)
        if not np.issubdtype(recorded.dtype, np.integer):
            return np.asarray(recorded + added, recorded.dtype)
        # rounded at random, or a faint pulse would be rounded away
        rng = np.random.default_rng((len(recorded), len(self.pulses)))
        rounded = np.floor(recorded + added + rng.random(added.shape, np.float32))
        least, most = _range(recorded.dtype, self.header.nbits)
        return np.where(added == 0, recorded, rounded.clip(least, most)).astype(recorded.dtype)


def _range(dtype: np.dtype[Any], nbits: int) -> tuple[int, int]:
    """Least and greatest number that a recording of so many bits can hold."""
    numbers = np.iinfo(dtype)
    return int(numbers.min), min(int(numbers.max), 2**nbits - 1)


def _noise(spectra: NDArray[np.generic]) -> Float32Array:
    """Deviation of each channel without its outliers, shape (nchans,)."""
    some = np.asarray(spectra[:: max(len(spectra) // 2048, 1)], np.float32)
    finite = np.where(np.isfinite(some), some, np.float32(0))
    low, high = np.percentile(finite, [1, 99], axis=0)
    return np.asarray(finite.clip(low, high).std(axis=0), np.float32)
