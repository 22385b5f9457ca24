"""How fast a search is: the whole chain, from a file to the journal, against real time."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any, Self

from ..config import Plan, SearchSettings
from ..data import FilterbankHeader
from ..errors import EnvironmentFault
from ..search import SearchPlan
from ..simulate import Population, random_sky, write_filterbank

#: Is called with what is being done, how much of it is, and of how much.
type Tell = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Case:
    """A stream to be searched.

    Parameters
    ----------
    name
        What it is called.
    header
        Band and sampling.
    dm_max
        Highest DM of the search.
    seconds
        Length of the file, unless another one is asked for.
    """

    name: str
    header: FilterbankHeader
    dm_max: float
    seconds: float


def _case(name: str, nchans: int, tsamp_s: float, dm_max: float, seconds: float) -> Case:
    """Lay out a case: 400 MHz at L band, 8 bit."""
    step_mhz = 400 / nchans
    header = FilterbankHeader(
        nchans=nchans,
        fch1_mhz=1500 - step_mhz / 2,
        foff_mhz=-step_mhz,
        tsamp_s=tsamp_s,
        tstart_mjd=60000.0,
        nbits=8,
        source_name=name,
    )
    return Case(name, header, dm_max, seconds)


#: Runs of half a minute: in shorter ones the start of the program would count for much.
CASES = {
    case.name: case
    for case in (
        _case("small", 256, 256e-6, 1000.0, 3600.0),
        _case("standard", 1024, 64e-6, 2000.0, 600.0),
        _case("large", 4096, 64e-6, 3000.0, 180.0),
    )
}

#: Pixels of an image: what a screen adds up is the same for any.
RES = 64

#: A pulse for so many seconds: a busy sky, so that measuring and classifying count.
SECONDS_PER_PULSE = 3.0


@dataclass(frozen=True, slots=True)
class Way:
    """One way of searching: a case of `CASES`, a plan of the search, and threads."""

    case: str
    plan: str
    threads: int


@dataclass(frozen=True, slots=True)
class Runs:
    """How many runs count of each way, and of what length (None: as the case has it)."""

    repeats: int
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """What one way of searching takes.

    Parameters
    ----------
    case, plan, threads
        What was run, pinned to as many processors as threads (or as there are).
    real_time_factors
        Of every run, ascending.
    ceiling_per_s, ceiling_share
        Additions that the same processors did in one second before a run, and the screen's in
        the time of the whole run over that: medians of the runs. See `ceiling`.
    stage_seconds
        Own time of each stage for a second of data, of the run in the middle.
    peak_memory_bytes
        The most that any run had resident.
    """

    case: str
    plan: str
    threads: int
    real_time_factors: tuple[float, ...]
    ceiling_per_s: float
    ceiling_share: float
    stage_seconds: dict[str, float]
    peak_memory_bytes: int

    @classmethod
    def of(
        cls, way: Way, summaries: list[dict[str, Any]], ceilings: Sequence[float], needed: float
    ) -> Self:
        """Sum up the runs.

        Parameters
        ----------
        summaries
            What each wrote into its ``summary.json``.
        ceilings
            Additions that could be done in one second, before each.
        needed
            Additions for a second of data.
        """
        shares = [
            float(summary["real_time_factor"]) * needed / most
            for summary, most in zip(summaries, ceilings, strict=True)
        ]
        summaries = sorted(summaries, key=lambda summary: float(summary["real_time_factor"]))
        middle = summaries[len(summaries) // 2]
        return cls(
            **asdict(way),
            real_time_factors=tuple(summary["real_time_factor"] for summary in summaries),
            ceiling_per_s=median(ceilings),
            ceiling_share=median(shares),
            stage_seconds={
                stage: spent / middle["data_seconds"]
                for stage, spent in middle["stage_seconds"].items()
            },
            peak_memory_bytes=max(summary["peak_memory_bytes"] for summary in summaries),
        )

    @property
    def real_time_factor(self) -> float:
        """Median of the runs."""
        return median(self.real_time_factors)


def make_data(case: Case, folder: Path, seconds: float | None) -> Path:
    """Write the file of a case; noise, and a pulse every few seconds.

    Raises
    ------
    SinkError
        Where it cannot be written.
    """
    length_s = seconds or case.seconds
    path = folder / f"{case.name}.fil"
    pulses = Population(
        n_pulses=int(length_s / SECONDS_PER_PULSE), snr=(8.0, 30.0), dm=(20.0, 500.0)
    )
    write_filterbank(random_sky(case.header, length_s, pulses, rfi=False, seed=1), path)
    return path


def time_searches(ways: Iterable[Way], folder: Path, runs: Runs, tell: Tell) -> Iterator[Timing]:
    """Search in every way, several times each, every time in a process of its own.

    The first run of each, which may compile and reads the file into memory, is not counted.

    Parameters
    ----------
    ways
        What to time; those of a case one after the other, for its file is made once.
    folder
        For data and results, both large.
    runs
        How many, and of what length.
    tell
        Is called with what is being done, and how many runs of how many are over.

    Raises
    ------
    EnvironmentFault
        Where a search fails.
    SinkError
        Where the data cannot be written.
    """
    from .ceiling import additions_per_s, ceiling

    ways = list(ways)
    total, done = len(ways) * (runs.repeats + 1), 0
    for name, those in groupby(ways, key=lambda way: way.case):
        tell(f"simulating {name}", done, total)
        data = make_data(CASES[name], folder, runs.seconds)
        for way in those:
            summaries, ceilings = [], []
            for _ in range(runs.repeats + 1):
                tell(f"{name}, {way.plan}, threads: {way.threads}", done, total)
                ceilings.append(ceiling(way.threads))
                summaries.append(_search(way, data))
                done += 1
            yield Timing.of(way, summaries[1:], ceilings[1:], additions_per_s(_plan(way)))
        data.unlink()


def _plan(way: Way) -> SearchPlan:
    case = CASES[way.case]
    words = {"dm_max": case.dm_max, "plan": way.plan}
    return Plan.make(SearchSettings.model_validate(words), case.header, RES).search


def _search(way: Way, data: Path) -> dict[str, Any]:
    out = data.with_suffix(".out")
    # in the process itself: pinned from outside, it would still see all processors
    pin = f"os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:{way.threads}])"
    pinned = pin if hasattr(os, "sched_setaffinity") else "pass"
    program = f"import os; {pinned}; from mlppa.cli import main; main()"
    options = (
        f"--plan {way.plan} --threads {way.threads} --dm-max {CASES[way.case].dm_max:g} "
        "--no-images --quiet"
    )
    command = [sys.executable, "-c", program, "search", str(data), "-o", str(out)]
    done = subprocess.run([*command, *options.split()], capture_output=True, text=True, check=False)
    if done.returncode:
        cause = f"exit code {done.returncode}: {done.stderr.strip()}"
        raise EnvironmentFault(f"search of {data}", cause, "run it by hand")
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return summary
