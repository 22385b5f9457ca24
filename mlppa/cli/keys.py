"""Keys for messages beyond this machine."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Debug, folder


def keys(
    name: Annotated[str, typer.Argument(help="Of the machine or the person it is for.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", parser=folder, help="Folder for the files.")
    ] = Path(),
    debug: Debug = False,
) -> None:
    """Make a pair of keys: NAME.key to give away, and NAME.key_secret to keep."""
    from ..curve import make_keys

    public, secret = make_keys(output, name)
    typer.echo(f"{public}: give it to the other end\n{secret}: keep it, show it to nobody")
