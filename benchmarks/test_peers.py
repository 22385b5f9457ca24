"""Dedispersion by others, on the same data in the same run: so much more for a DM and a second.

They sum each DM by itself; the engine shares sums between DMs, and its time here has the
boxcars in it. `your` (GPL) is no dependency of ours: install it for its line.
"""

from pathlib import Path
from time import thread_time

import numpy as np
import pytest

from mlppa.bench import CASES
from mlppa.clean import clean
from mlppa.config import Plan, SearchSettings
from mlppa.dedisperse.engine import Engine
from mlppa.gulps import gulps
from mlppa.search.screen import Screen
from mlppa.simulate import Sky, SkySource, write_filterbank

from .conftest import Tell

pytestmark = pytest.mark.timeout(3600)

CASE = CASES["standard"]
SKY = Sky(header=CASE.header, nsamples=131072, seed=1)
SECONDS = SKY.nsamples * CASE.header.tsamp_s

#: Sweeps that leave some of the data.
SOME_DMS = (100.0, 500.0)


@pytest.fixture(scope="module")
def ours_s() -> float:
    """CPU seconds of the engine for a DM and a second of data."""
    plan = Plan.make(SearchSettings(dm_max=CASE.dm_max, subbands=False), CASE.header, 64)
    cleaned = list(clean(gulps(SkySource(SKY).blocks(), plan.gulp), plan.room, plan.baseline))
    engine = Engine(1)
    spent = []
    screen = Screen(plan.search, engine)
    for gulp in cleaned:
        began = thread_time()
        screen(gulp, plan.search.threshold)
        spent.append(thread_time() - began)
    engine.close()
    trials = sum(len(octave.sweeps) for octave in plan.search.octaves)
    return min(spent) / trials / (plan.gulp * CASE.header.tsamp_s)


def test_sigpyproc(ours_s: float, tell: Tell) -> None:
    from sigpyproc.block import FilterbankBlock
    from sigpyproc.header import Header

    header = CASE.header
    (block,) = SkySource(SKY, SKY.nsamples).blocks()
    theirs = FilterbankBlock(
        np.ascontiguousarray(block.spectra.T, np.float32),
        Header(
            filename="",
            data_type="filterbank",
            nchans=header.nchans,
            foff=header.foff_mhz,
            fch1=header.fch1_mhz,
            nbits=8,
            tsamp=header.tsamp_s,
            tstart=header.tstart_mjd,
            nsamples=SKY.nsamples,
        ),
    )
    theirs.dedisperse(SOME_DMS[0]).get_tim()  # compiles
    began = thread_time()
    for dm in SOME_DMS:
        theirs.dedisperse(dm).get_tim()
    spent_s = (thread_time() - began) / len(SOME_DMS) / SECONDS
    tell(f"sigpyproc, block.dedisperse: {spent_s / ours_s:.0f} times the engine")
    assert spent_s > ours_s


# it leaves its file open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_your(ours_s: float, tell: Tell, tmp_path: Path) -> None:
    candidates = pytest.importorskip("your.candidate", reason="your is not installed")
    path = tmp_path / "noise.fil"
    write_filterbank(SKY, path)
    one = candidates.Candidate(
        fp=str(path), dm=SOME_DMS[1], tcand=SECONDS / 2, width=1, label=0, snr=10, min_samp=256
    )
    one.get_chunk()
    spent_s = 0.0
    for dm in SOME_DMS:
        began = thread_time()
        one.dedispersets(dm)
        spent_s += thread_time() - began
    spent_s /= len(SOME_DMS) * len(one.data) * CASE.header.tsamp_s
    tell(f"your, Candidate.dedispersets: {spent_s / ours_s:.0f} times the engine")
    assert spent_s > ours_s
