"""Synthetic pulses in a live stream: the proof that it would see real ones.

They are put into the raw samples, in units of each channel's noise, and known again among
what is found: nothing that lies in the bow-tie of one is ever told as a pulse of the sky.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data import (
    Block,
    Candidate,
    Coverage,
    Detection,
    FilterbankHeader,
    Float32Array,
    Injection,
    Report,
)
from .search import SearchPlan
from .search.cluster import as_triggers, in_bowtie
from .simulate.pulse import Pulse, PulseShape, reach, shape_pulse

#: The noise is measured of so many samples, and again after so many seconds.
NOISE_SAMPLES = 2048
NOISE_EVERY_S = 10.0

#: Part of the channels that must have noise.
LEAST_ALIVE = 0.5

#: Outliers of more than this are no noise.
CLIP = 4.0

#: The first pulse comes so long after the stream began: the search has its past by then.
FIRST_S = 5.0

#: A pulse is found where it was put in: within so many widths in time and in sweep, and
#: some samples.
NEAR_TIME, NEAR_SWEEP, NEAR_SAMPLES = 1.5, 3.0, 4

#: A pulse whose gulps lost no more than this part of their samples could have been found.
MOST_LOST = 0.1

#: What noise, and neighbours, add to a pulse that was put in.
BRIGHTER = 1.3


@dataclass(frozen=True, slots=True)
class Rate:
    """How often pulses are put in, and which: ranges as `simulate.Population` has them."""

    per_hour: float
    snr: tuple[float, float]
    dm: tuple[float, float]
    width_ms: tuple[float, float]


class Injector:
    """Puts pulses into a stream, and knows them again.

    `inject` runs in the thread that reads, `mark` in the one that searches.

    Parameters
    ----------
    rate
        How often, and which.
    header
        Of the stream.
    seed
        The same seed gives the same pulses at the same samples, however the stream is cut;
        only after a gap they may come later.
    """

    def __init__(self, rate: Rate, header: FilterbankHeader, seed: int) -> None:
        self._rate = rate
        self._header = header
        self._rng = np.random.default_rng((seed, 11))
        self._dither = np.random.default_rng((seed, 13))
        self._noise = _Noise(header)
        self._next: int | None = None
        self._shining: list[PulseShape] = []
        # what is appended here is taken in the other thread
        self._put: deque[Injection] = deque()
        self._known: list[Injection] = []
        self._coverage: deque[Coverage] = deque(maxlen=4096)

    def inject(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Add pulses to the blocks that they shine in."""
        for block in blocks:
            if not len(block.spectra):
                yield block
                continue
            self._noise.take(block)
            self._plan(block)
            here = [shape for shape in self._shining if shape.start < block.stop]
            yield self._added(block, here) if here else block
            self._shining = [shape for shape in self._shining if shape.stop > block.stop]

    def _plan(self, block: Block) -> None:
        """Begin pulses whose time has come."""
        tsamp_s = self._header.tsamp_s
        if self._next is None:
            self._next = block.start + math.ceil(FIRST_S / tsamp_s)
        while self._noise.is_known and self._next < block.stop:
            # behind a gap it begins with the block
            self._begin(max(self._next, block.start))
            wait_s = 3600 / self._rate.per_hour * float(self._rng.uniform(0.5, 1.5))
            self._next = max(self._next, block.start) + math.ceil(wait_s / tsamp_s)

    def _begin(self, start: int) -> None:
        """Draw a pulse that touches no sample before ``start``."""
        rate, rng, tsamp_s = self._rate, self._rng, self._header.tsamp_s
        pulse = Pulse(
            time_s=0.0,
            dm=float(rng.uniform(*rate.dm)),
            width_ms=_log_uniform(rng, rate.width_ms),
            snr=_log_uniform(rng, rate.snr),
        )
        # what it is smeared to lies before its arrival
        before, _ = reach(pulse, self._header)
        arrival = start - before + 1 + float(rng.uniform(0, 1))
        shape = shape_pulse(replace(pulse, time_s=arrival * tsamp_s), self._header)
        self._shining.append(shape)
        self._put.append(
            Injection(
                sample=arrival,
                dm=pulse.dm,
                width_ms=pulse.width_ms,
                snr=pulse.snr,
                boxcar_samples=shape.boxcar_samples,
            )
        )

    def _added(self, block: Block, shapes: list[PulseShape]) -> Block:
        power = np.zeros(block.spectra.shape, np.float32)
        for shape in shapes:
            shape.add_to(power, block.start)
        std = self._noise.std
        assert std is not None, "nothing shines before the noise is known"
        power *= std
        spectra = _sum(block.spectra, power, self._dither, self._header.nbits)
        return replace(block, spectra=spectra)

    def mark(self, reports: Iterable[Report], plan: SearchPlan) -> Iterator[Report]:
        """Know pulses again: mark what is of them, and tell what became of each."""
        for report in reports:
            while self._put:
                self._known.append(self._put.popleft())
            self._coverage.append(report.coverage)
            detections = report.detections
            for number, injection in enumerate(self._known):
                detections, self._known[number] = _claimed(injection, detections, plan)
            done = [one for one in self._known if one.sample < report.coverage.decided_to]
            self._known = [one for one in self._known if one.sample >= report.coverage.decided_to]
            told = tuple(self._told(one, plan) for one in done)
            yield replace(report, detections=detections, injections=told)

    def _told(self, injection: Injection, plan: SearchPlan) -> Injection:
        """Give an injection with the reason why it was missed, if it was."""
        if injection.found is not None:
            reason = injection.found.reason
            return replace(injection, reason=reason)
        last = injection.sample + injection.dm / plan.unit_dm + injection.boxcar_samples
        here = [c for c in self._coverage if c.start < last and c.stop > injection.sample]
        all_of_it = sum(c.stop - c.start for c in here)
        searched = sum(c.searched for c in here)
        is_cut = last > max((c.stop for c in self._coverage), default=0)
        lost = is_cut or all_of_it - searched > MOST_LOST * all_of_it
        return replace(injection, reason="not searched" if lost else "not proposed")


class _Noise:
    """The noise of each channel, from some samples now and then."""

    def __init__(self, header: FilterbankHeader) -> None:
        self.std: Float32Array | None = None
        self._every = math.ceil(NOISE_EVERY_S / header.tsamp_s)
        self._due = 0
        self._held: list[NDArray[np.generic]] = []

    @property
    def is_known(self) -> bool:
        """Whether most channels have noise: else nothing could be put in."""
        return self.std is not None and bool((self.std > 0).mean() > LEAST_ALIVE)

    def take(self, block: Block) -> None:
        """Look at a block, if it is time."""
        if block.stop < self._due:
            return
        self._held.append(block.spectra)
        if sum(map(len, self._held)) < NOISE_SAMPLES:
            return
        spectra = np.concatenate(self._held)[-NOISE_SAMPLES:]
        self._held, self._due = [], block.stop + self._every
        self.std = noise_of(spectra)


def noise_of(spectra: NDArray[np.generic]) -> Float32Array:
    """Measure the noise of each channel by what changes from sample to sample.

    Slow changes and outliers do not count.

    Parameters
    ----------
    spectra
        Shape (nsamples, nchans).

    Returns
    -------
    std
        Shape (nchans,), 0 where nothing changes or something is not finite.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        steps = np.diff(spectra.astype(np.float32), axis=0)
        inside = np.isfinite(steps)
        std = np.full(steps.shape[1], np.inf, np.float32)
        for _ in range(3):
            inside &= np.abs(steps) <= CLIP * std
            power = np.where(inside, steps * steps, 0).sum(axis=0)
            std = np.sqrt(power / np.maximum(inside.sum(axis=0), 1))
        std = std / np.float32(math.sqrt(2))
    return np.where(np.isfinite(std), std, 0).astype(np.float32)


def _sum(
    spectra: NDArray[Any], power: Float32Array, rng: np.random.Generator, nbits: int
) -> NDArray[Any]:
    """Add power to samples of any number type; whole numbers are dithered, not rounded."""
    if spectra.dtype.kind == "f":
        return np.asarray(spectra + power, spectra.dtype)
    total = spectra.astype(np.float32)
    shines = power != 0
    total[shines] = np.floor(total[shines] + power[shines] + rng.random(int(shines.sum())))
    limits = np.iinfo(spectra.dtype)
    highest = min(limits.max, 2**nbits - 1) if nbits < 8 else limits.max
    return np.clip(total, limits.min, highest).astype(spectra.dtype)


def _claimed(
    injection: Injection, detections: tuple[Detection, ...], plan: SearchPlan
) -> tuple[tuple[Detection, ...], Injection]:
    """Mark what is of a pulse that was put in, and note the best of it."""
    if not detections:
        return detections, injection
    truth = Candidate(
        sample=injection.sample,
        dm=injection.dm,
        dm_err=0.0,
        width_samples=injection.boxcar_samples,
        snr=BRIGHTER * injection.snr,
        snr_zero_dm=0.0,
        octave=0,
    )
    peaks = as_triggers([one.candidate for one in detections], plan)
    (centre,) = as_triggers([truth], plan)
    width = injection.boxcar_samples
    at_time = np.abs(peaks["time"] - centre["time"]) <= NEAR_TIME * width + NEAR_SAMPLES
    at_sweep = np.abs(peaks["sweep"] - centre["sweep"]) <= NEAR_SWEEP * width + NEAR_SAMPLES
    here = at_time & at_sweep
    of_it = here | in_bowtie(peaks, centre)
    marked = tuple(
        replace(one, injected=True) if mine else one
        for one, mine in zip(detections, of_it, strict=True)
    )
    for number in np.flatnonzero(here):
        one, best = marked[number], injection.found
        if best is None or (one.label == "pulse", one.candidate.snr) > (
            best.label == "pulse",
            best.candidate.snr,
        ):
            injection = replace(injection, found=one)
    return marked, injection


def _log_uniform(rng: np.random.Generator, between: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(between))))
