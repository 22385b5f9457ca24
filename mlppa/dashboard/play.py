"""A daemon of our own that plays a recording at the telescope's pace, to have something to see."""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

from ..config import DaemonConfig
from ..disk import write_whole
from ..sources import open_source
from .folder import Folder

#: Name of its messages.
STREAM = "live"

#: Synthetic pulses an hour: one in six seconds, so that a curve is there in a minute.
PER_HOUR = 600.0

#: How often it says how it fares.
HEALTH_S = 1.0

#: It may take so long to end.
PATIENCE_S = 25.0

#: A terminal that is closed, or a kill of ours, must not leave it behind: the kernel tells it
#: that its parent is gone (PR_SET_PDEATHSIG of Linux).
_PROGRAM = """
import ctypes, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
from mlppa.cli import main
sys.argv[1:] = ["run", sys.argv[1]]
main()
"""


class Played(Folder):
    """The output folder of a daemon of ours, whose end is told.

    Parameters
    ----------
    path
        The folder; its log is ``daemon.log``.
    process
        The daemon.
    """

    def __init__(self, path: Path, process: subprocess.Popen[bytes]) -> None:
        super().__init__(path)
        self.label = STREAM
        self._log = path / "daemon.log"
        self._process = process

    def fault(self) -> str:
        """Say that the daemon has ended, and what it said last."""
        code = self._process.poll()
        if code is None:
            return ""
        said = self._log.read_text(errors="replace").strip().splitlines()
        return f"the daemon that plays ended ({code}): {said[-1] if said else 'without a word'}"


@contextmanager
def playing(recording: Path) -> Generator[Played]:
    """Play a recording again and again through a daemon, in a folder that goes with it.

    Parameters
    ----------
    recording
        A file of data.

    Raises
    ------
    InputError
        The recording cannot be used.
    """
    with closing(open_source([str(recording)])):
        pass  # what is wrong with it is told at once, not in a log
    with tempfile.TemporaryDirectory(prefix="mlppa-play-") as name:
        folder = Path(name)
        config = folder / "daemon.toml"
        write_whole(config, settings(recording, folder).encode())
        DaemonConfig.load(config)
        with (folder / "daemon.log").open("wb") as log:
            daemon = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(config)],
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            yield Played(folder, daemon)
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
    return f"""stream = "{STREAM}"
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
