"""Draws what the screen costs, against channels, trials and beams, or tells what each plan does.

python -m benchmarks.cost docs/images/cost.png
python -m benchmarks.cost
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import thread_time

import numpy as np

from mlppa.bench import CASES
from mlppa.config import PLANS, Plan, SearchSettings, validated
from mlppa.data import FilterbankHeader
from mlppa.dedisperse import Window
from mlppa.dedisperse.engine import Engine
from mlppa.rows import empty_rows

HEADER = CASES["small"].header
CHANNELS = (64, 128, 256, 512, 1024, 2048, 4096)
TOLERANCES = (4.0, 2.0, 1.0, 0.5)
BEAMS = (1, 2, 3, 4, 6, 8)
REPEATS = 5


def noise(plan: Plan, seed: int) -> list[Window]:
    """Make the newest rows of every octave."""
    rng = np.random.default_rng(seed)
    threshold = 6.0 * 4.0 * plan.header.nchans**0.5
    found = []
    for octave in plan.search.octaves:
        rows = empty_rows(plan.header.nchans, octave.halo + (plan.gulp >> octave.index))
        rows[:] = rng.normal(0, 4, rows.shape).round().clip(-127, 127)
        found.append(Window(rows, octave, threshold))
    return found


def cost_ms(
    header: FilterbankHeader, settings: SearchSettings, beams: int = 1
) -> tuple[int, float]:
    """Measure: number of trials, and CPU milliseconds of one thread for a second of data."""
    plan = Plan.make(settings, header, 64)
    engine = Engine(1)
    windows = [noise(plan, beam) for beam in range(beams)]
    spent = []
    for _ in range(REPEATS + 1):
        began = thread_time()
        for of_one in windows:
            engine(of_one)
        spent.append(thread_time() - began)
    engine.close()
    trials = sum(len(octave.sweeps) for octave in plan.search.octaves)
    return trials, 1e3 * min(spent[1:]) / (plan.gulp * header.tsamp_s)


def with_channels(nchans: int) -> FilterbankHeader:
    step = 400 / nchans
    return replace(HEADER, nchans=nchans, fch1_mhz=1500 - step / 2, foff_mhz=-step)


def draw(path: Path) -> None:
    """Measure, and draw three panels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    settings = SearchSettings(dm_max=1000, subbands=False)
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels: Sequence[tuple[str, list[tuple[float, float]]]] = (
        ("channels", [(n, cost_ms(with_channels(n), settings)[1]) for n in CHANNELS]),
        (
            "trial DMs",
            [
                (float(trials), ms)
                for trials, ms in (
                    cost_ms(with_channels(1024), settings.model_copy(update={"dm_tol": tolerance}))
                    for tolerance in TOLERANCES
                )
            ],
        ),
        ("beams", [(n, cost_ms(with_channels(256), settings, n)[1]) for n in BEAMS]),
    )
    figure.suptitle("1100 to 1500 MHz, 256 µs, DM 0 to 1000, boxcars up to 100 ms", fontsize=11)
    titles = ("DM tolerance 1", "1024 channels", "256 channels, DM tolerance 1")
    for axes, (name, points), title in zip(figure.subplots(1, 3), panels, titles, strict=True):
        x, y = zip(*points, strict=True)
        axes.loglog(x, y, "o-", base=2, color="#0b5394")
        axes.set_xlabel(name)
        axes.set_ylabel("CPU time (ms per second of data)")
        axes.set_title(title, fontsize=10)
        axes.set_xticks(x, [f"{value:g}" for value in x], rotation=45)
        axes.minorticks_off()
        ticks = [
            value for value in (0.5, 1, 2, 4, 8, 16, 32, 64, 128) if min(y) / 2 < value < 2 * max(y)
        ]
        axes.set_yticks(ticks, [f"{value:g}" for value in ticks])
        axes.grid(alpha=0.3)
        sys.stdout.write(f"{name}: {[(a, round(b, 2)) for a, b in points]}\n")
    figure.savefig(path, dpi=110)


def tell_plans() -> None:
    """Measure each plan in the standard case."""
    case = CASES["standard"]
    for name in PLANS:
        settings = validated(SearchSettings, {"plan": name, "dm_max": case.dm_max})
        trials, ms = cost_ms(case.header, settings)
        sys.stdout.write(f"{name}: {trials} trial DMs, {ms:.1f} ms of CPU per second of data\n")


if __name__ == "__main__":
    if sys.argv[1:]:
        draw(Path(sys.argv[1]))
    else:
        tell_plans()
