"""The live page."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from ..errors import ConfigError
from .options import Debug, Quiet

#: Where the daemon that plays a recording leaves what it writes, beside the recording.
PLAYED = "live"


def dashboard(
    who: Annotated[
        list[str] | None,
        typer.Argument(
            help="Output folders, a daemon's configuration, http:// or tcp:// addresses."
        ),
    ] = None,
    bind: Annotated[str, typer.Option(help="HOST:PORT of the page.")] = "127.0.0.1:8977",
    play: Annotated[
        Path | None, typer.Option(readable=False, help="Also play this file, as a telescope would.")
    ] = None,
    replay: Annotated[str | None, typer.Option(help="Replay address, for a tcp:// one.")] = None,
    key: Annotated[Path | None, typer.Option(help="Our secret key, where it asks for one.")] = None,
    server_key: Annotated[Path | None, typer.Option(help="Public key of the publisher.")] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Show a page on which to see what streams look at, find, and whether they keep up."""
    from ..dashboard import follow, serve
    from ..dashboard.play import playing
    from ..web import host_port
    from .listen import keys_of

    try:
        host_port(bind)
    except ValueError as error:
        raise ConfigError("--bind", str(error), "give HOST:PORT, such as 127.0.0.1:8977") from error
    keys = keys_of(key, server_key)
    named = who or ([] if play else ["http://127.0.0.1:9177"])
    with ExitStack() as stack:
        followed = [follow(one, keys, replay) for one in named]
        if play is not None:
            folder = stack.enter_context(playing(play, play.parent / PLAYED))
            followed.append(follow(str(folder)))

        def ready(url: str) -> None:
            if not quiet:
                typer.echo(f"The page: {url}   (Ctrl-C ends it)")

        serve(followed, bind, ready)
