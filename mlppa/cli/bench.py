"""Measure how fast this machine is."""

import json
import tempfile
from dataclasses import asdict
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import AsJson, Debug, Quiet
from .progress import bar
from .search import Effort
from .usage import help_alone

if TYPE_CHECKING:
    from ..bench import Timing

app = typer.Typer(help="Measure how fast this machine is.")


class Which(StrEnum):
    """Streams to be searched."""

    small = "small"
    standard = "standard"
    large = "large"


@app.callback(invoke_without_command=True)
def _common(context: typer.Context, debug: Debug = False) -> None:
    """Measure how fast this machine is."""
    help_alone(context)


@app.command()
def search(
    case: Annotated[
        list[Which] | None, typer.Option(help="256, 1024 or 4096 channels (all of them).")
    ] = None,
    plan: Annotated[list[Effort] | None, typer.Option(help="How thoroughly (both).")] = None,
    threads: Annotated[
        list[int] | None, typer.Option(min=1, max=1024, help="On as many processors (1 and 2).")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="Runs of each.")] = 5,
    seconds: Annotated[
        float | None, typer.Option(min=5, max=86400, help="Length of the data.")
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Time the whole search, from a simulated file to the journal, against real time."""
    from ..bench import Runs, Way, time_searches

    cases, plans = case or list(Which), plan or list(Effort)
    ways = (Way(*way) for way in product(cases, plans, threads or [1, 2]))
    with tempfile.TemporaryDirectory(prefix="mlppa-bench-") as folder, bar(quiet) as tell:
        timings = list(time_searches(ways, Path(folder), Runs(repeats, seconds), tell))
    if as_json:
        typer.echo(json.dumps([asdict(timing) for timing in timings]))
    else:
        _print_timings(timings)


def _print_timings(timings: list["Timing"]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Times real time, from a file to the journal", title_justify="left")
    for heading in ("case", "plan", "threads", "median", "of runs", "MiB", "ms a second of data"):
        table.add_column(heading, justify="right" if heading in ("median", "MiB") else "left")
    for timing in timings:
        lowest, highest = timing.real_time_factors[0], timing.real_time_factors[-1]
        spent = ((name, 1e3 * seconds) for name, seconds in timing.stage_seconds.items())
        table.add_row(
            timing.case,
            timing.plan,
            str(timing.threads),
            f"{timing.real_time_factor:.1f}",
            f"{lowest:.1f} to {highest:.1f}",
            str(timing.peak_memory_bytes >> 20),
            ", ".join(f"{name} {took:.1f}" for name, took in spent if took >= 0.05),
        )
    Console().print(table)
