"""Searches made-up noise, and nothing else: what it finds is false, and what it holds is flat.

python -m benchmarks.noise --case standard --seconds 3600 --plan quality
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from resource import getpagesize
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from mlppa.allocator import keep_freed_memory
from mlppa.bench import CASES
from mlppa.classify import load_model
from mlppa.config import PLANS, ClassifySettings, Plan, SearchSettings, validated
from mlppa.data import Block, FilterbankHeader
from mlppa.dedisperse.engine import Engine
from mlppa.pipeline import Parts, pipeline
from mlppa.results import peak_memory_bytes
from mlppa.warmup import warm_up

BLOCK_NSAMPLES = 8192
POOL_BLOCKS = 16

#: Level and noise of what the simulator records with 8 bits.
LEVEL, NOISE = 96.0, 16.0

#: Of data, between two lines.
TELL_SECONDS = 60.0


class NoiseSource:
    """Gaussian noise of any length: stretches of a pool, each with its channels turned.

    To draw all of it would take longer than to search it. Sums over the band come again at
    DM 0, and hardly at others.

    Parameters
    ----------
    header
        Of 8 bits.
    nsamples
        Length of the stream.
    seed
        Of the pool, and of what is taken from it.
    """

    live = False

    def __init__(self, header: FilterbankHeader, nsamples: int, seed: int = 7) -> None:
        self.header, self.nsamples = header, nsamples
        self._rng = np.random.default_rng(seed)
        self._closed = False
        self.pool = np.empty((POOL_BLOCKS * BLOCK_NSAMPLES, header.nchans), np.uint8)
        # piece by piece: the peak of memory is to be that of the search
        for piece in np.split(self.pool, 16 * POOL_BLOCKS):
            piece[:] = self._draw(piece.shape)

    def _draw(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        noise = LEVEL + NOISE * self._rng.standard_normal(shape, dtype=np.float32)
        return np.asarray(np.rint(noise).clip(0, 255), np.float32)

    def blocks(self) -> Iterator[Block]:
        """Give the blocks in order, until the end or until `close`."""
        for start in range(0, self.nsamples, BLOCK_NSAMPLES):
            if self._closed:
                return
            length = min(BLOCK_NSAMPLES, self.nsamples - start)
            first = int(self._rng.integers(len(self.pool) - length))
            turn = int(self._rng.integers(self.header.nchans))
            yield Block(start, np.roll(self.pool[first : first + length], turn, axis=1))

    def close(self) -> None:
        """Let `blocks` end after the block at hand."""
        self._closed = True


def resident_bytes() -> int:
    """Memory that this process has resident now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * getpagesize()


def search_noise(parts: Parts) -> list[float]:
    """Search the noise, with a line for every minute of it.

    Returns
    -------
    snrs
        Of all candidates, whatever the network says of them.
    """
    warm_up(parts.plan.search.res, parts.plan.header.nbits, parts.kernel)
    began, told_s = perf_counter(), 0.0
    snrs: list[float] = []
    for report in pipeline(parts):
        snrs += [detection.candidate.snr for detection in report.detections]
        done_s = report.coverage.stop * parts.plan.header.tsamp_s
        if done_s >= told_s + TELL_SECONDS:
            told_s = done_s // TELL_SECONDS * TELL_SECONDS
            tell(
                f"{done_s:.0f} s of data in {perf_counter() - began:.0f} s: "
                f"{resident_bytes() >> 20} MiB resident with the pool, "
                f"{len(snrs)} candidates"
            )
    return snrs


def tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Search, and say what came of it."""
    keep_freed_memory()  # as the program does
    parser = argparse.ArgumentParser(description="Search made-up noise, without a file.")
    parser.add_argument("--case", choices=list(CASES), default="standard")
    parser.add_argument("--seconds", type=float, default=3600.0, help="of data")
    parser.add_argument("--plan", choices=list(PLANS), default="quality")
    wanted = parser.parse_args()
    case, chosen = CASES[wanted.case], ClassifySettings()
    settings = validated(SearchSettings, {"plan": wanted.plan, "dm_max": case.dm_max})
    classifier = load_model(chosen.model, batch=chosen.batch, device=chosen.device)
    source = NoiseSource(case.header, round(wanted.seconds / case.header.tsamp_s))
    plan = Plan.make(settings, case.header, classifier.res)
    with closing(Engine(settings.threads)) as kernel:
        snrs = search_noise(Parts(source, plan, kernel, classifier, classifier.card.threshold))
    highest = f"the highest {max(snrs):.2f}" if snrs else "none"
    tell(
        f"{len(snrs)} candidates at S/N {settings.threshold:g} and more, {highest}; "
        f"the trials, taken one by one, let expect {plan.noise_images_per_s * wanted.seconds:.1f}"
    )
    pool = source.pool.nbytes
    tell(f"peak memory {peak_memory_bytes() - pool >> 20} MiB without the pool of {pool >> 20} MiB")


if __name__ == "__main__":
    main()
