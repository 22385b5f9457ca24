"""Options that several commands share."""

import logging
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


def _log_all(wanted: bool) -> None:
    if wanted:
        logging.getLogger().setLevel(logging.DEBUG)


# Paths are declared with readable=False: what cannot be read is told where it is read.


def folder(text: str) -> Path:
    """Take a word for a folder; an empty one would be the present folder, unsaid."""
    if not text:
        raise typer.BadParameter("is empty; name a folder")
    return Path(text)


def text(word: str) -> str:
    """Take a word for a name; an empty one names nothing."""
    if not word:
        raise typer.BadParameter("is empty; give a name")
    return word


#: Eager, so that what is wrong with other options is shown with a traceback too.
Debug = Annotated[
    bool,
    typer.Option("--debug", callback=_log_all, is_eager=True, help="Log all, and show tracebacks."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No bars, no tables; warnings stay.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print for machines.")]


def option_name(key: str, called: Mapping[str, str]) -> str:
    """Name a setting as the command line does."""
    parts = key.split(".")
    known = called.get(key) or called.get(".".join(parts[:2])) or called.get(parts[0])
    return known or f"--{parts[-1].replace('_', '-')}"


def given(**options: Any) -> dict[str, Any]:
    """Leave out options that were not given: the defaults stand in the configuration alone."""
    return {name: value for name, value in options.items() if value is not None}


class Device(StrEnum):
    """Where the network runs."""

    auto = "auto"
    cpu = "cpu"
    gpu = "gpu"


Output = Annotated[Path, typer.Option("-o", "--output", parser=folder, help="For the results.")]
DmMax = Annotated[float | None, typer.Option(help="Highest DM, pc cm^-3.")]
Threshold = Annotated[float | None, typer.Option(help="Lowest S/N of a candidate.")]
MinProbability = Annotated[float | None, typer.Option(help="Of a detection.")]
Threads = Annotated[int | None, typer.Option(help="Threads that dedisperse.")]
Mask = Annotated[bool, typer.Option(help="Mask channels that stand out.")]
Network = Annotated[str | None, typer.Option(help="Name or folder of the network.")]
Where = Annotated[Device, typer.Option(help="Where the network runs.")]
Stream = Annotated[str | None, typer.Option(help="Name in messages (default: file's).")]
Publish = Annotated[str | None, typer.Option(help="ZeroMQ address for messages.")]
Replay = Annotated[str | None, typer.Option(help="ZeroMQ address of the past.")]
Linger = Annotated[float, typer.Option(help="Stay reachable so long at the end.")]
