"""The live page."""

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError
from .options import Debug, Quiet

if TYPE_CHECKING:
    from ..dashboard import Followed


def dashboard(
    who: Annotated[
        list[str] | None,
        typer.Argument(
            help="Output folders, a daemon's configuration, http:// or tcp:// addresses."
        ),
    ] = None,
    bind: Annotated[
        str | None, typer.Option(help="HOST:PORT of the page (default: 127.0.0.1:8977).")
    ] = None,
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
    from ..dashboard import BIND, follow, serve
    from ..dashboard.play import playing
    from ..web import host_port
    from .listen import keys_of

    bind = BIND if bind is None else bind
    try:
        host_port(bind)
    except ValueError as error:
        raise ConfigError("--bind", str(error), f"give HOST:PORT, such as {BIND}") from error
    named = who or ([] if play else [f"http://{_usual_pages()}"])
    _check_replay(replay, named)
    keys = keys_of(key, server_key)
    with ExitStack() as stack:
        followed = [follow(one, keys, replay) for one in named]
        if play is not None:
            followed.append(stack.enter_context(playing(play)))

        def ready(url: str) -> None:
            if not quiet:
                typer.echo(f"The page: {url}   (Ctrl-C ends it)")

        with closing_on_signals(followed):
            serve(followed, bind, ready)


def _usual_pages() -> str:
    from ..config import LifeSettings

    return str(LifeSettings().http)


def _check_replay(replay: str | None, named: Sequence[str]) -> None:
    """Refuse a replay address that nobody, or more than one, would be asked at."""
    publishers = [one for one in named if one.startswith(("tcp://", "ipc://"))]
    if replay is not None and len(publishers) != 1:
        cause = f"is for one tcp:// address, and there are {len(publishers)}"
        raise ConfigError("--replay", cause, "name daemons by http://HOST:PORT: they know theirs")


@contextmanager
def closing_on_signals(followed: "Sequence[Followed]") -> Iterator[None]:
    """Close sources before an interrupt unwinds what waits for them."""

    def leave(number: int, _: object) -> None:
        for one in followed:
            one.close()
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [(number, signal.signal(number, leave)) for number in numbers]
    try:
        yield
    finally:
        for number, usual in before:
            signal.signal(number, usual)
