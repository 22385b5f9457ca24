"""A daemon of our own that plays a recording at the telescope's pace, to have something to see."""

import json
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

from ..config import DaemonConfig
from ..disk import make_folder, write_whole
from ..sinks.journal import remove_journal
from ..sources import open_source

#: Name of its messages.
STREAM = "live"

#: Synthetic pulses an hour: one in six seconds, so that a curve is there in a minute.
PER_HOUR = 600.0

#: How often it says how it fares.
HEALTH_S = 1.0

#: It may take so long to end.
PATIENCE_S = 25.0


@contextmanager
def playing(recording: Path, output: Path) -> Generator[Path]:
    """Play a recording again and again through a daemon; give its output folder.

    Parameters
    ----------
    recording
        A file of data.
    output
        For its configuration, journal, pictures and log.

    Raises
    ------
    InputError
        The recording cannot be used.
    """
    with closing(open_source([str(recording)])):
        pass  # what is wrong with it is told at once, not in a log
    make_folder(output)
    # another day: what it told before is not told again
    remove_journal(output / f"{STREAM}.sqlite", STREAM)
    config = output / "daemon.toml"
    write_whole(config, settings(recording, output).encode())
    DaemonConfig.load(config)
    program = "import sys; from mlppa.cli import main; sys.argv[1:] = ['run', sys.argv[1]]; main()"
    with (output / "daemon.log").open("wb") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-c", program, str(config)], stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        yield output
    finally:
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def settings(recording: Path, output: Path) -> str:
    """Write the configuration of a daemon that plays a recording for ever."""
    uri = f"replay:{recording.resolve()}?loop=1"
    return f"""# {recording} again and again, as a telescope would send it: mlppa run THIS
stream = "{STREAM}"
input = [{json.dumps(uri)}]
output = {json.dumps(str(output.resolve()))}

[publish]
images = true

[inject]
per_hour = {PER_HOUR}
dm = [50.0, 500.0]

[life]
http = "127.0.0.1:0"
health_every_s = {HEALTH_S}
"""
