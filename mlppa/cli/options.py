"""Options that several commands share."""

import logging
from pathlib import Path
from typing import Annotated

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
