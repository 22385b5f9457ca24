"""What the screen loses before anything is measured: noise-free pulses, exactly computed.

The trees round delays, trial DMs have a distance, boxcars have steps, and time is averaged at
high DM. The exact search is that which defines the S/N of a simulated pulse: at the true DM,
on the samples as they were recorded, with boxcars of every phase.
"""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from mlppa.bench import CASES, Case
from mlppa.config import Plan, SearchSettings
from mlppa.dedisperse import Octave
from mlppa.dedisperse.engine import Engine
from mlppa.simulate import Pulse
from mlppa.simulate.pulse import PulseShape, shape_pulse

from .conftest import Tell

pytestmark = pytest.mark.timeout(600)

WIDTHS_SAMPLES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
LEAST_DM = 5.0
PULSES = 200

#: Rows on either side of the true sweep that may answer best.
NEIGHBOURS = 2

#: An octave answers to sweeps that pass its first or last row by no more, in its samples.
BEYOND = 8


def draw_pulses(case: Case, seed: int) -> Iterator[Pulse]:
    """Draw pulses at any phase of a sample; DMs evenly, and every other in the logarithm."""
    rng = np.random.default_rng(seed)
    for number in range(PULSES):
        even = float(rng.uniform(LEAST_DM, case.dm_max))
        in_log = float(np.exp(rng.uniform(np.log(LEAST_DM), np.log(case.dm_max))))
        yield Pulse(
            time_s=float(rng.uniform(0, 4096)) * case.header.tsamp_s,
            dm=in_log if number % 2 else even,
            width_ms=float(rng.choice(WIDTHS_SAMPLES)) * case.header.tsamp_s * 1e3,
            snr=1.0,
        )


def boxcars(octave: Octave) -> Iterator[tuple[int, int]]:
    """Give the length of every boxcar, and the step between those of that length."""
    yield from ((1, 1), (2, 1))
    for k in range(octave.levels + 1):
        yield from ((3 << k, 1 << k), (4 << k, 1 << k))


def row_snr(shape: PulseShape, octave: Octave, delays: NDArray[np.int64]) -> float:
    """Give the S/N of a pulse in one row, by the best of the screen's boxcars.

    Parameters
    ----------
    shape
        What the pulse adds to each channel.
    octave
        Whose samples are summed.
    delays
        Delay of every channel as the row is summed, in samples of the octave, (nchans,).
    """
    time = shape.first[:, None] + np.arange(shape.profile.shape[1])
    index = (time >> octave.index) - delays[:, None]
    # boxcars stand on a grid that knows nothing of the pulse
    start = (int(index.min()) // octave.longest - 1) * octave.longest
    stop = int(index.max()) + 1 + octave.longest
    series = np.bincount(
        (index - start).ravel(), shape.profile.ravel().astype(np.float64), stop - start
    )
    total = np.concatenate([[0.0], series.cumsum()])
    best = max(
        (total[width::step] - total[:-width:step]).max() / np.sqrt(width)
        for width, step in boxcars(octave)
    )
    return float(best / np.sqrt(len(delays) << octave.index))


def screen_snr(shape: PulseShape, plan: Plan, delays: dict[Octave, NDArray[np.int64]]) -> float:
    """Give the S/N of a pulse in the row that answers best, whatever its octave."""
    best = 0.0
    for octave, of_rows in delays.items():
        sweep = shape.pulse.dm / plan.search.unit_dm / 2**octave.index
        if octave.sweeps[0] - BEYOND <= sweep <= octave.sweeps[-1] + BEYOND:
            nearest = int(np.searchsorted(octave.sweeps, sweep))
            near = of_rows[max(nearest - NEIGHBOURS, 0) : nearest + NEIGHBOURS]
            best = max(best, *(row_snr(shape, octave, row) for row in near))
    return best


@pytest.mark.parametrize("case_name", ["small", "standard"])
def test_the_screen_against_the_exact_search(case_name: str, tell: Tell) -> None:
    """200 pulses of half a sample to 16 samples, from DM 5 on."""
    case = CASES[case_name]
    shapes = [shape_pulse(pulse, case.header) for pulse in draw_pulses(case, seed=1)]
    engine = Engine(1)
    for name in ("fast", "quality"):
        plan = Plan.make(SearchSettings(plan=name, dm_max=case.dm_max), case.header, 64)
        delays = {octave: engine.delays(octave) for octave in plan.search.octaves}
        parts = [screen_snr(shape, plan, delays) / shape.pulse.snr for shape in shapes]
        tell(
            f"S/N in the screen over that of an exact search, {case_name}, {name}: "
            f"median {np.median(parts):.3f}, 5th percentile {np.percentile(parts, 5):.3f}, "
            f"least {min(parts):.3f}"
        )
        assert np.median(parts) > 0.9
        # rounding may fall better than that of exact delays, but not by much
        assert max(parts) < 1.05
    engine.close()
