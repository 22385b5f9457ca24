"""Search files; check a configuration."""

import json
import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .options import (
    AsJson,
    Debug,
    Device,
    DmMax,
    Linger,
    Mask,
    MinProbability,
    Network,
    Output,
    Publish,
    Quiet,
    Replay,
    Stream,
    Threads,
    Threshold,
    Where,
    given,
    option_name,
    text,
)
from .progress import Tell, bar

if TYPE_CHECKING:
    from rich.console import Console

    from ..config import DaemonConfig
    from ..offline import Search
    from ..wire import DetectionMessage

logger = logging.getLogger(__name__)

#: Settings whose options are not called like their keys.
CALLED = {"input": "FILES", "publish.detections": "--publish"}


class Effort(StrEnum):
    """How thoroughly to search."""

    quality = "quality"
    fast = "fast"


def search(
    files: Annotated[list[str], typer.Argument(help="Files that continue each other.")],
    output: Output,
    dm_max: DmMax = None,
    width_max_ms: Annotated[
        float | None, typer.Option("--width-max-ms", "--width-max", help="Longest boxcar, ms.")
    ] = None,
    dm_tol: Annotated[
        float | None, typer.Option(help="Step between DMs, in units of the smearing.")
    ] = None,
    plan: Annotated[
        Effort | None, typer.Option(help="Spare narrow pulses of high DM, or time.")
    ] = None,
    threshold: Threshold = None,
    min_probability: MinProbability = None,
    threads: Threads = None,
    model: Network = None,
    device: Where = Device.auto,
    stream: Stream = None,
    publish: Publish = None,
    replay: Replay = None,
    linger_s: Linger = 0.0,
    images: Annotated[bool, typer.Option(help="Draw a PNG of every detection.")] = True,
    mask: Mask = True,
    subbands: Annotated[bool, typer.Option(help="Search parts of the band too.")] = True,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Search files as fast as possible; give nothing but the file, the defaults are good."""
    from ..config import Config, naming, validated
    from ..offline import Search, stream_name

    content = {
        "stream": stream_name(files[0]) if stream is None else stream,
        "input": files,
        "output": output,
        "search": given(
            dm_max=dm_max,
            width_max_ms=width_max_ms,
            dm_tol=dm_tol,
            plan=plan and plan.value,
            threshold=threshold,
            threads=threads,
            mask=mask,
            subbands=subbands,
        ),
        "classify": given(model=model, min_probability=min_probability, device=device.value),
        "publish": given(detections=publish, replay=replay, linger_s=linger_s, images=images),
    }
    with naming(lambda key: option_name(key, CALLED)):
        found = Search(validated(Config, content))
    with draining(found.close) as stopped, bar(quiet) as tell:
        follow(found, tell)
    if found.left_out is not None:
        logger.warning(found.left_out)
    if as_json:
        typer.echo(json.dumps(found.summary))
    elif not quiet:
        _print_search(found)
    if found.summary["stopped"]:
        raise typer.Exit(128 + stopped[0])


@contextmanager
def draining(close: Callable[[], None]) -> Iterator[list[int]]:
    """On SIGTERM or SIGINT close; what is in flight still comes out. A second one is final."""
    stopped: list[int] = []

    def stop(number: int, _: object) -> None:
        stopped.append(number)
        signal.signal(number, before[number])
        close()

    numbers: tuple[int, ...] = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def follow(found: "Search", tell: Tell) -> None:
    """Run a search, and tell how far it is."""
    pulses = candidates = 0
    for report in found.run():
        pulses += sum(d.label == "pulse" for d in report.detections)
        candidates += len(report.detections)
        figures = f"{pulses} pulses, {candidates} candidates"
        tell("searching", report.coverage.stop, found.source.nsamples, figures)


def _print_search(found: "Search") -> None:
    from rich.console import Console

    summary = found.summary
    console = Console(highlight=False, soft_wrap=True)
    print_detections(console, found.detections)
    console.print(
        f"{summary['data_seconds']:.1f} s of data in {summary['wall_seconds']:.1f} s "
        f"({summary['real_time_factor']:.1f} times real time), "
        f"{_counted(summary['candidates'], 'candidate')}; results in {found.config.output}"
    )


def print_detections(console: "Console", detections: Sequence["DetectionMessage"]) -> None:
    """Print a table of pulses."""
    from rich.table import Table

    table = Table(title=_counted(len(detections), "detection"), title_justify="left")
    for heading in ("time (s)", "MJD", "DM (pc/cc)", "S/N", "width (ms)", "probability"):
        table.add_column(heading, justify="right", no_wrap=True)
    for m in detections:
        table.add_row(
            f"{m.time_s:.4f}",
            f"{m.mjd:.8f}",
            f"{m.dm:.2f} ± {m.dm_err:.2f}",
            f"{m.snr:.1f}",
            f"{m.width_ms:.2f}",
            f"{m.probability:.3f}",
        )
    if detections:
        console.print(table)
    else:
        console.print("No detections.")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def check(
    config: Annotated[Path, typer.Argument(readable=False, help="A configuration file (TOML).")],
    data: Annotated[
        str | None, typer.Option(parser=text, help="Plan for this file, not the input.")
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Validate a configuration and print the plan that it becomes."""
    from ..classify import model_card
    from ..config import DaemonConfig, naming

    loaded = DaemonConfig.load(config)
    card = model_card(loaded.classify.model)
    plan, reason = None, None
    with naming(lambda key: f"{config}: {key}"):
        try:
            plan, reason = _plan(loaded, data, card.res)
        except InputError as error:
            # a configuration may be written before there are data, but a file that is
            # named here and now must be there
            if data is not None or not isinstance(error.__cause__, FileNotFoundError):
                raise
            reason = f"{error.thing} is not there"
    described = {"stream": ", ".join(loaded.inputs), "model": card.name, "res": card.res}
    if as_json:
        typer.echo(json.dumps({"valid": True, **described, "plan": plan, "reason": reason}))
    elif plan is None:
        typer.echo(f"configuration is valid; no plan: {reason} (give --data FILE)")
    else:
        _print_plan(described | plan)


def _plan(
    config: "DaemonConfig", data: str | None, res: int
) -> tuple[dict[str, object] | None, str | None]:
    """Plan for the data, the input, or the header that stands in the configuration."""
    from ..config import Plan
    from ..sources import is_live, open_source

    uris = next(iter(config.inputs.values()))
    live = is_live(uris)
    header = config.known_header if live else None
    if data is not None or not live:
        with closing(open_source([data] if data is not None else uris)) as source:
            header = source.header
    if header is None:
        return None, f"{uris[0]} tells its header when it begins"
    return Plan.make(config.search, header, res, live=live).describe(), None


def _print_plan(described: dict[str, Any]) -> None:
    octaves, subbands = described.pop("octaves"), described.pop("subbands")
    for name, value in described.items():
        typer.echo(f"{name:20} {_plain(value)}")
    for octave in octaves:
        typer.echo(
            f"octave {octave['octave']}: {octave['rows']} rows, "
            f"DM {octave['dm_first']:.1f} to {octave['dm_last']:.1f}, "
            f"{octave['tsamp_s'] * 1e3:.4g} ms, "
            f"boxcars of {octave['widths'][0]} to {octave['widths'][-1]} samples"
        )
    for subband in subbands:
        low_mhz, high_mhz = subband["band_mhz"]
        typer.echo(
            f"sub-band {low_mhz:.1f} to {high_mhz:.1f} MHz: {subband['rows']} rows, "
            f"{subband['tsamp_s'] * 1e3:.4g} ms"
        )


def _plain(value: object) -> str:
    if isinstance(value, list):
        return " to ".join(map(_plain, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
