"""DM-time images: what the network sees, cut exactly from the samples.

An image is defined by arrival, DM and octave m alone. A column is one pixel of 2**m
samples; a row is one pixel of sweep; the pulse stands in the middle, at
``[RES // 2, RES // 2]``, with the highest DM in the last row. Times are taken at the
band's mean delay, where the bow-tie stands upright.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .clean import SIGMA
from .data import Candidate, Float32Array, History, ImageBatch, Picture, Searched
from .search import SearchPlan
from .search.refine import channel_starts
from .search.subbands import view

#: What the shape of a bow-tie cannot show; the model scales them itself.
FEATURES = ("log2_sweep_px", "snr", "snr_zero_dm_ratio", "log2_width_px")

#: Geometry of the picture for people.
PICTURE_COLUMNS = 160
PICTURE_SUBBANDS = 64

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
        views = [view(c, item.history, plan) for c in item.candidates]
        images = [dm_time_image(*one) for one in views]
        rows = [features(candidate, part) for candidate, _, part in views]
        yield ImageBatch(
            item,
            np.array(images, np.float32).reshape(-1, plan.res, plan.res),
            np.array(rows, np.float32).reshape(-1, len(FEATURES)),
        )


def features(candidate: Candidate, plan: SearchPlan) -> list[float]:
    """Give the numbers that go with an image, in the order of FEATURES."""
    pixel = 2**candidate.octave
    return [
        float(np.log2(1 + candidate.dm / plan.unit_dm / pixel)),
        candidate.snr,
        candidate.snr_zero_dm / candidate.snr,
        float(np.log2(candidate.width_samples / pixel)),
    ]


def dm_time_image(candidate: Candidate, history: History, plan: SearchPlan) -> Float32Array:
    """Cut one image.

    The row of the candidate's own DM is exact to the sample; in the others each channel
    moves by whole pixels.

    Returns
    -------
    image
        Shape (res, res), in units of its noise; 0 where there are no data.
    """
    sums, cells = _image(candidate, history, plan)
    return _in_noise(sums, cells)


def draw(candidate: Candidate, image: Float32Array, history: History, plan: SearchPlan) -> Picture:
    """Prepare what a person looks at: waterfall, profiles and the image with its axes."""
    octave = max(candidate.octave - 1, 0)
    sums, cells = _pixels(candidate, history, plan, octave)
    middle = candidate.sample + plan.mean_shape * candidate.dm / plan.unit_dm
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
        image=np.where(_image(candidate, history, plan)[1] > 0, image, np.float32(np.nan)),
        image_time_ms=rows * image_pixel * 1e3 * plan.tsamp_s,
        image_dm=candidate.dm + rows * image_pixel * plan.unit_dm,
        dm=candidate.dm,
        width_ms=candidate.width_samples * plan.tsamp_s * 1e3,
    )


def _image(
    candidate: Candidate, history: History, plan: SearchPlan
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Sum an image up: counts, and how many samples carry signal, shape (res, res).

    The latter has shape (1, 1) where all pixels hold the same.
    """
    from .dedisperse.exact import pixels, shift_sum

    pixel = 2**candidate.octave
    starts = _starts(candidate, plan, candidate.octave, 2 * plan.res)
    sums, cells = pixels(history, starts, 2 * plan.res, pixel)
    rows = np.arange(plan.res) - plan.res // 2
    offsets = np.multiply.outer(rows, plan.shape - plan.mean_shape)
    shifts = np.floor(offsets + 0.5).astype(np.int64) + plan.res // 2
    image = shift_sum(sums, shifts, plan.res)
    if cells is None:
        return image, np.full((1, 1), len(starts) * pixel, np.int32)
    return image, shift_sum(cells, shifts, plan.res)


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


def _in_noise(sums: NDArray[np.integer], cells: NDArray[np.integer]) -> Float32Array:
    return np.asarray(sums / (SIGMA * np.sqrt(np.maximum(cells, 1))), np.float32)


def _seen(sums: NDArray[np.integer], cells: NDArray[np.integer]) -> Float32Array:
    return np.where(cells > 0, _in_noise(sums, cells), np.float32(np.nan))
