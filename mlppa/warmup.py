"""Getting ready: the path is compiled on a small sky of its own."""

import numpy as np

from .clean import clean
from .config import Plan, SearchSettings
from .data import FilterbankHeader, Gulp
from .dedisperse import Kernel
from .dispersion import delay_s
from .images import cut_images
from .search import search
from .search.resolutions import Resolutions


def warm_up(res: int, nbits: int, kernel: Kernel) -> None:
    """Compile (or read from numba's cache) what the path needs, before data flow.

    A few seconds of a small sky take it: a pulse, and one with samples missing in it. The
    number type of the samples is guessed from their bits; for another one the cleaning is
    compiled when it comes.

    Parameters
    ----------
    res
        Pixels along either side of an image.
    nbits
        Of the samples that will come.
    kernel
        What will dedisperse.
    """
    header = FilterbankHeader(
        nchans=32, fch1_mhz=1500.0, foff_mhz=-10.0, tsamp_s=1e-3, tstart_mjd=0.0, nbits=8
    )
    settings = SearchSettings(dm_max=150.0, width_max_ms=300.0, threshold=15.0)
    plan = Plan.make(settings, header, res)
    dtype = {16: np.uint16, 32: np.float32}.get(nbits, np.uint8)
    spectra = np.random.default_rng(1).integers(90, 110, (plan.gulp, header.nchans)).astype(dtype)
    valid = np.ones(plan.gulp, np.bool_)
    delays = np.rint(delay_s(100.0, header.freqs_mhz, header.f_hi_mhz) / header.tsamp_s)
    for first in (plan.gulp // 4, plan.gulp // 2):
        for sample in range(4):
            spectra[first + sample + delays.astype(int), np.arange(header.nchans)] += 20
    valid[plan.gulp // 2 + 1] = False
    gulp = Gulp(0, spectra, valid, 0, plan.gulp)
    cleaned = list(clean([gulp], plan.room, plan.baseline))
    # so short sweeps need no coarser resolution
    Resolutions([0, 0]).windows(cleaned[0])
    for _ in cut_images(search(cleaned, plan.search, kernel), plan.search):
        pass
