"""A daemon in a process of its own, who plays to it, and who listens."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import zmq

from mlppa.data import FilterbankHeader
from mlppa.players import Player, open_player
from mlppa.simulate import Sky, SkySource
from mlppa.sinks.reader import JournalReader
from mlppa.wire import CoverageMessage, DetectionMessage, HealthMessage, Message, decode

from .skies import SKY

#: Longer than any of it takes, also on a busy machine.
PATIENCE_S = 60.0


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def until(wanted: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    """Wait for something, and say what has not come."""
    stop = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < stop, f"not within {seconds} s"
        time.sleep(0.02)


@dataclass
class Daemon:
    """``mlppa run`` with a formula for its network, and everything around it."""

    folder: Path
    more: str = ""
    streams: Sequence[str] = ("b0",)
    environ: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    program: Sequence[str] = (sys.executable, "-m", "tests.stand_in")
    ports: dict[str, int] = field(init=False)
    process: subprocess.Popen[str] | None = None

    def __post_init__(self) -> None:
        self.ports = {name: free_port() for name in ("pub", "replay", "http", *self.streams)}
        for name in self.streams:
            self.inputs.setdefault(name, f"zmq://127.0.0.1:{self.ports[name]}")
        self.configure()

    @property
    def config(self) -> Path:
        return self.folder / "daemon.toml"

    def configure(self, more: str | None = None) -> None:
        self.more = self.more if more is None else more
        streams = "".join(f'[streams.{n}]\ninput = ["{uri}"]\n' for n, uri in self.inputs.items())
        sections = {
            "search": "dm_max = 500.0\nthreshold = 7.0\nwidth_max_ms = 60.0\nthreads = 1\n",
            "classify": "min_probability = 0.5\n",
            "publish": (
                f'detections = "tcp://127.0.0.1:{self.ports["pub"]}"\n'
                f'replay = "tcp://127.0.0.1:{self.ports["replay"]}"\nimages = false\n'
            ),
            "watchdog": "queue_s = 600.0\n",
            "life": (
                f'http = "127.0.0.1:{self.ports["http"]}"\nhealth_every_s = 0.5\n'
                "silent_s = 1.5\nstop_s = 15.0\n"
            ),
        }
        text = f'output = "{self.folder / "out"}"\n{streams}'
        given = self.more
        for name, lines in sections.items():
            head = f"[{name}]\n"
            extra = ""
            if head in given:
                before, _, after = given.partition(head)
                extra, bracket, rest = after.partition("\n[")
                given = before + (f"[{rest}" if bracket else "")
            keys = {line.partition(" ")[0] for line in extra.splitlines()}
            kept = [line for line in lines.splitlines() if line.partition(" ")[0] not in keys]
            text += head + "\n".join([*kept, extra.strip(), ""])
        self.config.write_text(text + given)

    def start(self) -> None:
        """Start, and wait until it is ready."""
        before = len(self.log)
        self.launch()
        until(lambda: "ready:" in self.log[before:] or not self.lives)
        assert self.lives, self.log

    def launch(self) -> None:
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                [*self.program, "run", str(self.config)],
                stderr=log,
                text=True,
                env=os.environ | self.environ,
            )

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    @property
    def lives(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(PATIENCE_S)

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait()

    def get(self, page: str) -> tuple[int, Any]:
        """Ask for a page: its status, and what it says."""
        url = f"http://127.0.0.1:{self.ports['http']}{page}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                status, body = answer.status, answer.read()
        except HTTPError as error:
            status, body = error.code, error.read()
        except URLError:
            return 0, None
        return status, body.decode() if page == "/metrics" else json.loads(body)

    def state(self, stream: str = "b0") -> str:
        status, said = self.get("/healthz")
        return str(said["streams"][stream]["state"]) if status else ""

    def messages(self, stream: str = "b0") -> list[Message]:
        """Give all that its journal holds."""
        with JournalReader(self.folder / "out" / f"{stream}.sqlite") as journal:
            return [decode(body) for _, body in journal.since(0, -1)]

    def pulses(self, stream: str = "b0") -> list[DetectionMessage]:
        return [m for m in self.messages(stream) if isinstance(m, DetectionMessage)]

    def coverage(self, stream: str = "b0") -> list[CoverageMessage]:
        return [m for m in self.messages(stream) if isinstance(m, CoverageMessage)]

    def health(self, stream: str = "b0") -> list[HealthMessage]:
        return [m for m in self.messages(stream) if isinstance(m, HealthMessage)]


@contextmanager
def ended(daemon: Daemon) -> Iterator[Daemon]:
    """Leave no daemon behind."""
    try:
        yield daemon
    finally:
        if daemon.lives:
            daemon.kill()


class Telescope:
    """Plays skies to an input of a daemon."""

    def __init__(self, daemon: Daemon, stream: str = "b0") -> None:
        self.player: Player = open_player(daemon.inputs[stream])

    def __enter__(self) -> "Telescope":
        return self

    def __exit__(self, *_: object) -> None:
        self.player.close()

    def play(
        self,
        sky: Sky = SKY,
        *,
        start: int = 0,
        without: tuple[int, int] = (0, 0),
        header: FilterbankHeader | None = None,
        pause_s: float = 0.0,
        heap: int = 200,
    ) -> None:
        """Send a sky as fast as it goes, from sample ``start`` on, but for some of it."""
        self.player.begin(header or sky.header)
        for block in SkySource(sky, heap).blocks():
            if not without[0] <= block.start < without[1]:
                self.player.send(replace(block, start=start + block.start))
                time.sleep(pause_s)
        # what was sent is on its way: a daemon that is stopped now would not hear it
        time.sleep(0.3)


class Ear:
    """Hears what a daemon publishes."""

    def __init__(self, daemon: Daemon) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.subscribe(b"")
        self._socket.connect(f"tcp://127.0.0.1:{daemon.ports['pub']}")
        self.topics: list[str] = []
        self.heard: list[Message] = []

    def __enter__(self) -> "Ear":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close(linger=0)
        self._context.term()

    def listen(self) -> list[Message]:
        """Take in what has come by now."""
        while self._socket.poll(50):
            topic, body = self._socket.recv_multipart()
            self.topics.append(topic.decode())
            self.heard.append(decode(body))
        return self.heard
