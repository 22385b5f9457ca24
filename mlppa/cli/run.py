"""The daemon."""

import signal
from pathlib import Path
from typing import Annotated

import typer

from .options import Debug

#: What ends it.
STOPS = (signal.SIGTERM, signal.SIGINT)


def run(
    config: Annotated[Path, typer.Argument(readable=False, help="A configuration file (TOML).")],
    debug: Debug = False,
) -> None:
    """Search live streams until told to stop (SIGTERM); SIGHUP reads thresholds again."""
    # it would end us before there is anything to read again
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from ..service import open_daemon
    from ..service.logs import set_up

    daemon = open_daemon(config)
    set_up(daemon.config.life.log)

    def stop(number: int, _: object) -> None:
        # a second one ends us at once
        for one in STOPS:
            signal.signal(one, signal.SIG_DFL)
        daemon.stop()

    for number in STOPS:
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, lambda *_: daemon.reload())
    daemon.run()
