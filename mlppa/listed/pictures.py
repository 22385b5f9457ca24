"""Pictures of other searches, brought to the geometry of our images.

It is the poorer way: their panels are cut where their candidate is, averaged as it suited the
plot, and the plane of TransientX is no intensity. See docs/lists.md for what that costs.
"""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..classify import Classifier
from ..data import FilterbankHeader, Float32Array, Listed, Panels
from ..dispersion import K_DM, channel_shape, sweep_s
from ..errors import FormatError, InputError
from ..formats.lists import K_TRANSIENTX, Flaw
from ..formats.panels import read_fetch, read_px
from ..images import PARTS, STEPS

log = logging.getLogger(__name__)

#: Candidates of FETCH and your, by the end of their name.
FETCH_FILES = (".h5", ".hdf5")

#: Bins of a spectrum that are further off than this many widths are noise.
OFF_WIDTHS = 2.0

#: Pixels that a pulse is wide, about, as in images of our own.
WIDE_PX = 3.0

#: Standard deviation of Gaussian noise over its median deviation.
GAUSSIAN_MAD = 1.4826

type Floats = NDArray[np.float64]


def as_image(
    panels: Panels, dm: float, width_s: float, snr: float, res: int
) -> tuple[Float32Array, Float32Array]:
    """Resample panels to an image and the numbers that go with it; see `images.cut_images`.

    Parameters
    ----------
    dm, width_s, snr
        Of the candidate.
    res
        Pixels along either side.

    Returns
    -------
    image
        Shape (res, res); 0 where the panels end.
    features
        In the order of `images.FEATURES`.
    """
    freqs_mhz = np.sort(panels.freqs_mhz)
    sweep_per_dm = sweep_s(1.0, freqs_mhz)
    step_s = float(np.median(np.diff(panels.plane_s)))
    pixel_s = max(width_s / WIDE_PX, step_s)
    offsets = np.asarray((np.arange(res) - res // 2) * pixel_s, np.float64)
    # at a higher DM the pulse seems to arrive earlier at the top, and not at the mean delay
    lever = float(channel_shape(freqs_mhz).mean())
    dms = dm + offsets / sweep_per_dm
    times = offsets[None, :] - lever * offsets[:, None]
    image = _in_noise(_resampled(panels, dms, times))
    numbers = [
        float(np.log2(1 + dm * sweep_per_dm / pixel_s)),
        snr,
        _zero_dm_ratio(panels, dm, width_s),
        float(np.log2(max(width_s / pixel_s, 1.0))),
    ]
    spectrum = _spectrum(panels, width_s, pixel_s)
    return image, np.append(numbers, spectrum).astype(np.float32)


def _resampled(panels: Panels, dms: Floats, times: Floats) -> NDArray[np.float64]:
    """Look the plane up at DMs (n,) and times (n, m), between its pixels; NaN outside."""
    from scipy.interpolate import RegularGridInterpolator

    rows, order = np.unique(panels.dms, return_index=True)
    columns, turn = np.unique(panels.plane_s, return_index=True)
    if min(len(rows), len(columns)) < 2:
        return np.full(times.shape, np.nan)
    look_up = RegularGridInterpolator(
        (rows, columns),
        panels.plane[np.ix_(order, turn)].astype(np.float64),
        bounds_error=False,
        fill_value=np.nan,
    )
    at = np.stack([np.broadcast_to(dms[:, None], times.shape), times], axis=-1)
    return np.asarray(look_up(at), np.float64)


def _in_noise(values: NDArray[np.float64]) -> Float32Array:
    """Bring values to zero median and unit spread; what is not there becomes 0."""
    known = values[np.isfinite(values)]
    if not len(known):
        return np.zeros(values.shape, np.float32)
    middle = float(np.median(known))
    spread = GAUSSIAN_MAD * float(np.median(np.abs(known - middle)))
    scaled = (values - middle) / max(spread, 1e-6)
    return np.clip(np.nan_to_num(scaled, nan=0.0), -100, 100).astype(np.float32)


def _spectrum(panels: Panels, width_s: float, pixel_s: float) -> Float32Array:
    """Sum the dedispersed panel up in parts of the band and pixels, shape (PARTS, STEPS)."""
    rank = np.argsort(np.argsort(panels.freqs_mhz))
    member = (rank * PARTS // len(rank) == np.arange(PARTS)[:, None]).astype(np.float64)
    parts = member @ panels.spectrum.astype(np.float64)
    edges = (np.arange(STEPS + 1) - (STEPS + 1) / 2) * pixel_s
    step_s = float(np.median(np.diff(panels.spectrum_s)))
    ends = np.append(panels.spectrum_s - step_s / 2, panels.spectrum_s[-1] + step_s / 2)
    total = np.concatenate([np.zeros((PARTS, 1)), np.cumsum(parts, axis=1)], axis=1)
    sums = np.array([np.diff(np.interp(edges, ends, row)) for row in total])
    off = np.abs(panels.spectrum_s) > OFF_WIDTHS * width_s
    noise = parts[:, off].std(axis=1) if off.any() else parts.std(axis=1)
    mean = parts[:, off].mean(axis=1) if off.any() else parts.mean(axis=1)
    bins = pixel_s / step_s
    scaled = (sums - mean[:, None] * bins) / np.maximum(noise[:, None] * np.sqrt(bins), 1e-6)
    return np.asarray(scaled, np.float32)


def _zero_dm_ratio(panels: Panels, dm: float, width_s: float) -> float:
    """Give the brightness without dispersion over that at the DM, as far as the panel reaches."""
    freqs_mhz = panels.freqs_mhz
    order = np.sort(freqs_mhz)
    delays = sweep_s(dm, order) * channel_shape(freqs_mhz)
    step_s = float(np.median(np.diff(panels.spectrum_s)))
    width = max(round(width_s / step_s), 1)
    shifted = np.zeros(panels.spectrum.shape[1])
    for row, delay in zip(panels.spectrum, delays, strict=True):
        shift = round(delay / step_s)
        if shift < len(row):
            shifted[shift:] += row[: len(row) - shift]
    best = [_best_boxcar(series, width) for series in (shifted, panels.spectrum.sum(axis=0))]
    return float(np.clip(best[0] / max(best[1], 1e-6), 0, 2))


def _best_boxcar(series: NDArray[np.floating], width: int) -> float:
    total = np.concatenate([[0.0], np.cumsum(series)])
    width = min(width, len(series))
    return float((total[width:] - total[:-width]).max())


class Pictures:
    """Pictures that came with lines of lists; each is read when it is judged.

    Parameters
    ----------
    beside
        Whether those that TransientX saved beside its plots are looked for.

    Attributes
    ----------
    headers
        Of the data behind candidates of FETCH, by the path of these.
    """

    def __init__(self, *, beside: bool) -> None:
        self._beside = beside
        self.headers: dict[str, FilterbankHeader] = {}

    def read(self, path: Path) -> Listed | Flaw:
        """Read a candidate of FETCH: a list of one, with its picture."""
        try:
            _, listed, header = read_fetch(path)
        except FormatError as error:
            return Flaw(str(path), 1, error.cause)
        self.headers[listed.path] = header
        return listed

    def split(self, rows: Iterable[Listed]) -> tuple[list[Listed], list[Listed]]:
        """Give the lines that have a picture, and the others."""
        seen: list[Listed] = []
        unseen: list[Listed] = []
        for row in rows:
            # one of FETCH was read when its line was made of it
            has = row.path in self.headers or self._panels(row) is not None
            (seen if has else unseen).append(row)
        return seen, unseen

    def _panels(self, row: Listed) -> Panels | None:
        try:
            if row.path in self.headers:
                return read_fetch(Path(row.path))[0]
            for path in self.beside(row):
                return read_px(path, K_TRANSIENTX / K_DM)
        except InputError as error:
            log.warning("%s; the candidate is judged without it", error)
        return None

    def beside(self, row: Listed) -> list[Path]:
        """Give where TransientX would have saved the picture of a line, if it is looked for."""
        name = Path(row.plot or "").stem
        return [Path(row.path).parent / f"{name}.px"] if self._beside and name else []

    def judged(
        self, classifier: Classifier, rows: Sequence[Listed], columns: Float32Array
    ) -> Float32Array:
        """Let a network judge lines by their pictures; see `alone.JudgeLines`."""
        said = np.zeros(len(rows), np.float32)
        for number, row in enumerate(rows):
            panels = self._panels(row)
            if panels is None:  # gone since it was looked for
                continue
            width_s, snr = float(columns[number, 1]) * 1e-3, float(columns[number, 2])
            image, numbers = as_image(panels, row.dm, width_s, snr, classifier.res)
            said[number] = classifier(image[None], numbers[None])[0]
        return said
