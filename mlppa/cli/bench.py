"""Measure how fast this machine is."""

import json
import tempfile
from dataclasses import asdict
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..disk import make_folder
from .options import AsJson, Debug, Quiet, folder, text
from .progress import bar
from .search import Effort
from .usage import help_alone

if TYPE_CHECKING:
    from ..bench import DtTiming, Timing
    from ..bench.dt import Way

app = typer.Typer(help="Measure how fast this machine is.")


class Which(StrEnum):
    """Streams to be searched."""

    small = "small"
    standard = "standard"
    large = "large"


class Ways(StrEnum):
    """Ways of computing a network."""

    onnx = "onnx"
    tensorflow = "tensorflow"
    element = "predict(element)"
    dataset = "predict(dataset)"


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
    """Time the whole search, from a simulated file to the journal, against real time.

    Files take up to 11.8 GB, where TMPDIR says.
    """
    from ..bench import Runs, Way, time_searches

    cases, plans = case or list(Which), plan or list(Effort)
    ways = (Way(*way) for way in product(cases, plans, threads or [1, 2]))
    with tempfile.TemporaryDirectory(prefix="mlppa-bench-") as folder, bar(quiet) as tell:
        timings = list(time_searches(ways, Path(folder), Runs(repeats, seconds), tell))
    if as_json:
        typer.echo(json.dumps([asdict(timing) for timing in timings]))
    else:
        _print_timings(timings)


@app.command()
def dt(
    model: Annotated[
        list[str] | None, typer.Option(parser=text, help="Name or folder (all that come along).")
    ] = None,
    family: Annotated[
        bool,
        typer.Option("--family", help="The ML-PPA networks too, RES 256 to 32 (20 GiB of memory)."),
    ] = False,
    batch: Annotated[
        list[int] | None, typer.Option(min=1, max=4096, help="Images a call (1 and 32).")
    ] = None,
    threads: Annotated[
        list[int] | None, typer.Option(min=1, max=1024, help="Of ONNX Runtime (1).")
    ] = None,
    way: Annotated[
        list[Ways] | None, typer.Option(help="Engine, or a Keras call as the talk has it (onnx).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", parser=folder, help="For a picture, dt.png.")
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Time the networks: dT for an image, against what real time allows."""
    from ..bench import Load, draw_dt, time_dt, untrained_family
    from ..classify import list_models

    if out is not None:
        make_folder(out)
    ways: list[Way] = [one.value for one in way or [Ways.onnx]]
    with tempfile.TemporaryDirectory(prefix="mlppa-bench-") as untrained, bar(quiet) as tell:
        models: list[str | Path] = list(model or (list_models() if not family else []))
        models += untrained_family(Path(untrained), tell) if family else []
        load = Load(models, batch or (1, 32), threads or (1,), ways)
        timings = list(time_dt(load, tell))
    if out is not None:
        draw_dt(timings, out / "dt.png")
    if as_json:
        typer.echo(json.dumps([asdict(timing) | {"dt_s": timing.dt_s} for timing in timings]))
    else:
        _print_dt(timings)


def _print_dt(timings: list["DtTiming"]) -> None:
    from rich.console import Console
    from rich.table import Table

    from ..bench import STORM_PER_S, leads

    title = f"dT for an image; real time allows {1e6 / STORM_PER_S:g} us where a storm gives"
    table = Table(title=f"{title} {STORM_PER_S} candidates a second", title_justify="left")
    for heading in ("model", "pixels", "way", "images a call", "threads", "us", "of real time"):
        is_text = heading in ("model", "way")
        table.add_column(heading, justify="left" if is_text else "right")
    for one in timings:
        table.add_row(
            one.model,
            str(one.res),
            one.way,
            str(one.batch),
            str(one.threads or "all"),
            f"{1e6 * one.dt_s:.4g}",
            f"{one.dt_s * STORM_PER_S:.2%}",
        )
    Console().print(table)
    for quick, ratio in leads(timings):
        typer.echo(f"{quick.model}: {quick.way}, {quick.batch} a call, is {ratio:.0f} times as "
                   "fast as predict(element)")  # fmt: skip


def _print_timings(timings: list["Timing"]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Times real time, from a file to the journal", title_justify="left")
    headings = ("case", "plan", "threads", "median", "of runs", "of ceiling", "MiB")
    for heading in (*headings, "ms a second of data"):
        is_number = heading in ("median", "of ceiling", "MiB")
        table.add_column(heading, justify="right" if is_number else "left")
    for timing in timings:
        lowest, highest = timing.real_time_factors[0], timing.real_time_factors[-1]
        spent = ((name, 1e3 * seconds) for name, seconds in timing.stage_seconds.items())
        table.add_row(
            timing.case,
            timing.plan,
            str(timing.threads),
            f"{timing.real_time_factor:.1f}",
            f"{lowest:.1f} to {highest:.1f}",
            f"{timing.ceiling_share:.0%} of {timing.ceiling_per_s / 1e9:.0f} G",
            str(timing.peak_memory_bytes >> 20),
            ", ".join(f"{name} {took:.1f}" for name, took in spent if took >= 0.05),
        )
    Console().print(table)
    typer.echo("of ceiling: what the screen adds up in all of that time, of the additions a second "
               "that the same processors did just before")  # fmt: skip
