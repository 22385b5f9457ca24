"""Take back what was told to the world."""

from contextlib import closing
from typing import Annotated

import typer

from ..errors import ConfigError
from .options import Debug

#: How the sinks are called that can take something back.
SCHEME = "voevent:"


def retract(
    identity: Annotated[str, typer.Argument(metavar="ID", help="Of the detection.")],
    reason: Annotated[str, typer.Argument(help="Why, for people.")],
    sink: Annotated[
        str, typer.Option("--from", help="The VOEvent sink, as the configuration has it.")
    ],
    debug: Debug = False,
) -> None:
    """Retract the VOEvent of a detection: write a retraction, and send it where events went."""
    from ..sinks.voevent import open_voevent

    if not sink.startswith(SCHEME):
        raise ConfigError("--from", f"{sink} is no VOEvent sink", "give one like voevent:/data/voe")
    with closing(open_voevent(sink)) as events:
        ivorn = events.retract(identity, reason)
    typer.echo(f"retracted by {ivorn}")
