"""Replay files into a live input."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from .options import AsJson, Debug, Quiet
from .progress import Tell, bar
from .search import draining

if TYPE_CHECKING:
    from ..replay import Replay

#: A thread may hold the interpreter for so long while another waits: less than a
#: millisecond, or heaps leave late.
SWITCH_S = 2e-4

#: How often the bar moves.
TELL_S = 0.2


def replay(
    files: Annotated[list[str], typer.Argument(help="Files that continue each other.")],
    to: Annotated[str, typer.Option(help="Where to, such as zmq://127.0.0.1:7150.")],
    speed: Annotated[
        float, typer.Option(help="1 is the telescope's pace, 0 as fast as it goes.")
    ] = 1.0,
    loop: Annotated[bool, typer.Option("--loop", help="Again and again, for ever.")] = False,
    rounds: Annotated[int | None, typer.Option(min=1, help="So many times.")] = None,
    heap: Annotated[int | None, typer.Option(help="Samples to a heap (default: 20 ms).")] = None,
    seconds: Annotated[float | None, typer.Option(help="Only so much of the data.")] = None,
    faults: Annotated[str, typer.Option(help="Such as lost=0.01,duplicated=0.01,stop=5@60.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Of the faults.")] = 1,
    truth: Annotated[
        Path | None, typer.Option(readable=False, help="Write down here what was not sent.")
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Play files into a live input at the telescope's pace, with its faults if you like."""
    from ..players import open_player
    from ..players.faults import read_faults
    from ..replay import Play, Replay
    from ..sources import open_source

    if loop and rounds is not None:
        raise ConfigError("--loop", "is for ever, but --rounds is given", "give one of them")
    play = Play(
        speed=speed,
        rounds=None if loop else rounds or 1,
        heap=heap,
        seconds=seconds,
        faults=read_faults(faults, seed),
        truth=truth,
    )
    with (
        closing(open_source(files)) as source,
        closing(open_player(to)) as player,
        _switching(SWITCH_S),
    ):
        playing = Replay(source, player, play)
        with draining(playing.stop) as stopped, bar(quiet) as tell:
            _follow(playing, tell)
    if as_json:
        typer.echo(json.dumps(playing.report))
    elif not quiet:
        _print_report(playing.report)
    if stopped:
        raise typer.Exit(128 + stopped[0])


@contextmanager
def _switching(interval_s: float) -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(interval_s)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _follow(playing: "Replay", tell: Tell) -> None:
    """Run a replay, and tell how far it is."""
    tally, total, told_s = playing.tally, playing.nsamples, 0.0
    for _ in playing.run():
        if time.monotonic() >= told_s + TELL_S:
            told_s = time.monotonic()
            tell("replaying", tally.stop, total, f"{tally.heaps['sent']} heaps, {tally.late} late")


def _print_report(report: dict[str, Any]) -> None:
    heaps = {kind: number for kind, number in report["heaps"].items() if number}
    typer.echo(
        f"{report['data_seconds']:.3f} s of data in {report['wall_seconds']:.3f} s: heaps "
        + (", ".join(f"{number} {kind}" for kind, number in heaps.items()) or "none")
    )
    if late := report["lateness_ms"]:
        typer.echo(
            f"late by {late['median']} ms (median), {late['p99']} ms (99 %), {late['worst']} ms "
            f"(worst); {report['late_heaps']} heaps by more than 1 ms"
        )
    typer.echo(f"sample 0 began at {report['t0_utc']} (monotonic {report['t0_monotonic_s']:.6f} s)")
