"""DM-time images: what the network sees, cut exactly from the samples.

An image is defined by arrival, DM and octave m alone. A column is one pixel of 2**m
samples; a row is one pixel of sweep; the pulse stands in the middle, at
``[RES // 2, RES // 2]``, with the highest DM in the last row. Times are taken at the
band's mean delay, where the bow-tie stands upright.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .clean import SIGMA
from .data import Candidate, Float32Array, History, ImageBatch, Panels, Picture, Searched
from .search import SearchPlan
from .search.refine import channel_starts
from .search.subbands import view

#: Parts of the band, and pixels of time around the candidate, of the small dedispersed spectrum
#: that goes with an image: what happens in a part of the band only shows there.
PARTS = 16
STEPS = 16

#: What the shape of a bow-tie cannot show; the model scales them itself. The spectrum comes
#: last, in units of noise: the lowest part of the band first, one time after the other.
FEATURES = (
    *("log2_sweep_px", "snr", "snr_zero_dm_ratio", "log2_width_px"),
    *(f"spectrum_{part}_{step}" for part in range(PARTS) for step in range(STEPS)),
)

#: A chirp that is straight in a part of the band goes on beside it, off the track of a pulse:
#: in so many of `PARTS` on either side, at most so many pixels away.
BESIDE_PARTS = 4
BESIDE_PIXELS = 16

#: Geometry of the picture for people.
PICTURE_COLUMNS = 160
PICTURE_SUBBANDS = 64

#: Pixels along either side of the panels that FETCH and your look at.
FETCH_SIDE = 256

#: So many samples of a channel that are all 0, a value that one in ten has, were never
#: recorded.
BLANK = 16


def cut_images(searched: Iterable[Searched], plan: SearchPlan) -> Iterator[ImageBatch]:
    """Cut the DM-time image of every candidate.

    Yields
    ------
    batch
        One per item, with no images where there was no candidate.
    """
    for item in searched:
        cuts = [_cut(c, item.history, plan) for c in item.candidates]
        yield ImageBatch(
            item,
            np.array([image for image, _ in cuts], np.float32).reshape(-1, plan.res, plan.res),
            np.array([numbers for _, numbers in cuts], np.float32).reshape(-1, len(FEATURES)),
        )


def _cut(
    candidate: Candidate, history: History, plan: SearchPlan
) -> tuple[Float32Array, Float32Array]:
    """Cut one image, in units of its noise, and gather the numbers that go with it.

    The row of the candidate's own DM is exact to the sample; in the others each channel
    moves by whole pixels. Of a candidate in a part of the band both show that part.

    Returns
    -------
    image
        Shape (res, res); 0 where there are no data.
    features
        In the order of FEATURES.
    """
    seen, inside, part = view(candidate, history, plan)
    swept = _swept(seen, inside, part)
    pixel = 2**candidate.octave
    numbers = [
        float(np.log2(1 + candidate.dm / part.unit_dm / pixel)),
        candidate.snr,
        candidate.snr_zero_dm / candidate.snr,
        float(np.log2(candidate.width_samples / pixel)),
    ]
    spectrum = _spectrum(swept, part, pixel)
    return _in_noise(*_image(swept, part, pixel)), np.append(numbers, spectrum).astype(np.float32)


def _spectrum(swept: "_Swept", plan: SearchPlan, pixel: int) -> Float32Array:
    """Sum dedispersed channels up in parts of the band, shape (PARTS, STEPS)."""
    nchans = len(plan.freqs_mhz)
    rank = np.arange(nchans) if plan.freqs_mhz[0] < plan.freqs_mhz[-1] else np.arange(nchans)[::-1]
    member = (rank * PARTS // nchans == np.arange(PARTS)[:, None]).astype(np.float32)
    columns = slice(plan.res - STEPS // 2, plan.res + STEPS // 2)
    sums = member @ swept.sums[:, columns].astype(np.float32)
    if swept.cells is None:
        return _in_noise(sums, member.sum(axis=1)[:, None] * pixel)
    return _in_noise(sums, member @ swept.cells[:, columns].astype(np.float32))


def snr_beside(candidate: Candidate, history: History, plan: SearchPlan) -> float:
    """Give the highest S/N near a candidate of a part of the band, beside that and off its track.

    What such a burst leaves there, it would leave on its track.
    """
    assert candidate.channels is not None
    (low, high), pixel = candidate.channels, 2**candidate.octave
    swept = _swept(replace(candidate, channels=None), history, plan)
    nchans = len(plan.freqs_mhz)
    step = max(nchans // PARTS, 1)
    near = [low - n * step for n in range(1, BESIDE_PARTS + 1)]
    near += [high + n * step for n in range(BESIDE_PARTS)]
    parts = [slice(one, one + step) for one in near if 0 <= one <= nchans - step]
    cells = np.full_like(swept.sums, pixel) if swept.cells is None else swept.cells
    highest = 0.0
    for length in (2, 4, 8):
        pixels = np.arange(2 * plan.res - length + 1) + (length - 1) / 2 - plan.res
        own = 1 + length / 2 + 1.5 * candidate.width_samples / pixel
        off = np.flatnonzero((np.abs(pixels) > own) & (np.abs(pixels) <= BESIDE_PIXELS))
        for part in parts:
            sums, present = (
                np.convolve(one[part].sum(axis=0), np.ones(length), "valid")[off]
                for one in (swept.sums, cells)
            )
            highest = max(highest, *_in_noise(sums, present).tolist(), 0.0)
    return highest


def draw(candidate: Candidate, image: Float32Array, history: History, plan: SearchPlan) -> Picture:
    """Prepare what a person looks at: waterfall, profiles and the image with its axes."""
    octave = max(candidate.octave - 1, 0)
    sums, cells = _pixels(candidate, history, plan, octave)
    middle = candidate.sample + plan.mean_shape * candidate.dm / plan.unit_dm
    _, present = _image(_swept(candidate, history, plan), plan, 2**candidate.octave)
    undispersed = replace(candidate, sample=middle, dm=0.0)
    zero = _pixels(undispersed, history, plan, octave)
    nsub = min(PICTURE_SUBBANDS, len(plan.freqs_mhz))
    edges = np.linspace(0, len(plan.freqs_mhz), nsub, endpoint=False).astype(int)
    pixel_ms = 1e3 * plan.tsamp_s * 2**octave
    image_pixel = 2**candidate.octave
    rows = np.arange(plan.res) - plan.res // 2
    return Picture(
        waterfall=_seen(np.add.reduceat(sums, edges), np.add.reduceat(cells, edges)),
        profile=_seen(sums.sum(axis=0), cells.sum(axis=0)),
        zero_dm=_seen(zero[0].sum(axis=0), zero[1].sum(axis=0)),
        time_ms=(np.arange(PICTURE_COLUMNS) - PICTURE_COLUMNS // 2) * pixel_ms,
        freqs_mhz=np.add.reduceat(plan.freqs_mhz, edges) / np.diff([*edges, len(plan.freqs_mhz)]),
        image=np.where(present > 0, image, np.float32(np.nan)),
        image_time_ms=rows * image_pixel * 1e3 * plan.tsamp_s,
        image_dm=candidate.dm + rows * image_pixel * plan.unit_dm,
        dm=candidate.dm,
        width_ms=candidate.width_samples * plan.tsamp_s * 1e3,
    )


def cut_panels(candidate: Candidate, history: History, plan: SearchPlan) -> Panels:
    """Cut what FETCH and your look at: 256 bins of half a width, DMs from 0 to twice its own.

    Both panels are in units of noise; where the history has no data, they are 0.
    """
    from .dedisperse.exact import pixels, shift_sum

    pixel = max(candidate.width_samples // 2, 1)
    sweep = candidate.dm / plan.unit_dm
    sweeps = np.linspace(0, 2 * sweep, FETCH_SIDE)
    shifts = np.rint(np.multiply.outer(sweeps - sweep, plan.shape) / pixel).astype(np.int64)
    reach = int(np.abs(shifts).max())
    npixels = FETCH_SIDE + 2 * reach
    begin = candidate.sample + plan.mean_shape * sweep - (npixels // 2) * pixel - (pixel - 1) / 2
    starts = channel_starts(plan, begin, np.array([sweep]))[0]
    sums, cells = pixels(history, starts, npixels, pixel)
    plane = shift_sum(sums, shifts + reach, FETCH_SIDE)
    present: NDArray[Any] = np.full((1, 1), len(starts) * pixel)
    if cells is not None:
        present = shift_sum(cells, shifts + reach, FETCH_SIDE)
    middle = slice(reach, reach + FETCH_SIDE)
    rows = np.arange(FETCH_SIDE) * len(starts) // FETCH_SIDE
    if len(starts) >= FETCH_SIDE:
        seen = np.add.reduceat(sums[:, middle], rows)
        each = np.diff([*rows, len(starts)])[:, None] * pixel
        filled = each if cells is None else np.add.reduceat(cells[:, middle], rows)
    else:
        seen = sums[rows, middle]
        filled = np.full((1, 1), pixel) if cells is None else cells[rows, middle]
    bins = np.arange(FETCH_SIDE, dtype=np.float64) - FETCH_SIDE // 2
    time_s = np.asarray(bins * pixel * plan.tsamp_s, np.float64)
    return Panels(
        spectrum=_in_noise(seen, filled),
        freqs_mhz=plan.freqs_mhz[rows],
        spectrum_s=time_s,
        plane=_in_noise(plane, present),
        dms=sweeps * plan.unit_dm,
        plane_s=time_s,
    )


class _Swept(NamedTuple):
    """The channels around a candidate in pixels of time, shifted to its DM.

    Parameters
    ----------
    sums
        Counts, shape (nchans, 2 * res); the pulse is in the middle of pixel ``res``.
    cells
        How many samples carry signal in each, same shape; None where all do.
    """

    sums: NDArray[np.int32]
    cells: NDArray[np.int32] | None


def _swept(candidate: Candidate, history: History, plan: SearchPlan) -> _Swept:
    from .dedisperse.exact import pixels

    starts = _starts(candidate, plan, candidate.octave, 2 * plan.res)
    return _Swept(*pixels(history, starts, 2 * plan.res, 2**candidate.octave))


def _image(
    swept: _Swept, plan: SearchPlan, pixel: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Sum an image up: counts, and how many samples carry signal, shape (res, res).

    The latter has shape (1, 1) where all pixels hold the same.
    """
    from .dedisperse.exact import shift_sum

    rows = np.arange(plan.res) - plan.res // 2
    offsets = np.multiply.outer(rows, plan.shape - plan.mean_shape)
    shifts = np.floor(offsets + 0.5).astype(np.int64) + plan.res // 2
    image = shift_sum(swept.sums, shifts, plan.res)
    if swept.cells is None:
        return image, np.full((1, 1), len(plan.shape) * pixel, np.int32)
    return image, shift_sum(swept.cells, shifts, plan.res)


def _starts(candidate: Candidate, plan: SearchPlan, octave: int, npixels: int) -> NDArray[np.int64]:
    """First sample of each channel, for the pulse to be in the middle of pixel npixels // 2."""
    pixel = 2**octave
    sweep = candidate.dm / plan.unit_dm
    middle = candidate.sample + plan.mean_shape * sweep
    begin = middle - (npixels // 2) * pixel - (pixel - 1) / 2
    starts: NDArray[np.int64] = channel_starts(plan, begin, np.array([sweep]))[0]
    return starts


def _pixels(
    candidate: Candidate, history: History, plan: SearchPlan, octave: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Sum the channels of a picture up, at the candidate's DM.

    Stretches that a channel did not record carry no signal.

    Returns
    -------
    sums, cells
        Counts and number of samples with signal, shape (nchans, PICTURE_COLUMNS); the
        pulse is in the middle of pixel ``PICTURE_COLUMNS // 2``.
    """
    from .dedisperse.exact import strips

    pixel = 2**octave
    starts = _starts(candidate, plan, octave, PICTURE_COLUMNS)
    cut = strips(history, starts, PICTURE_COLUMNS * pixel)
    stretches = cut.samples.reshape(len(cut.channels), -1, BLANK)
    recorded = np.repeat(stretches.any(axis=2), BLANK, axis=1)
    if cut.weights is not None:
        recorded &= cut.weights.view(np.bool_)
    shape = (len(cut.channels), PICTURE_COLUMNS, pixel)
    sums, cells = np.zeros((2, len(starts), PICTURE_COLUMNS), np.int32)
    sums[cut.channels] = cut.samples.reshape(shape).sum(axis=2, dtype=np.int32)
    cells[cut.channels] = recorded.reshape(shape).sum(axis=2, dtype=np.int32)
    return sums, cells


def _in_noise(sums: NDArray[Any], cells: NDArray[Any]) -> Float32Array:
    return np.asarray(sums / (SIGMA * np.sqrt(np.maximum(cells, 1))), np.float32)


def _seen(sums: NDArray[np.integer], cells: NDArray[np.integer]) -> Float32Array:
    return np.where(cells > 0, _in_noise(sums, cells), np.float32(np.nan))
