"""Prometheus and an Alertmanager as they are shipped, and who is told."""

import json
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest

from mlppa.simulate import Sky, SkySource

from .daemon import Daemon, Telescope, free_port, until

SHIPPED = Path(__file__).parents[1] / "deploy" / "prometheus"


def program(*names: str) -> str:
    """Find a program by one of its names, or skip the test."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"no {names[0]} here (Debian: prometheus, prometheus-alertmanager)")
    return found


@dataclass(frozen=True)
class Notice:
    """What the receiver of alerts was told of one of them, and when."""

    at_s: float
    alert: str
    stream: str | None
    status: str


@dataclass
class Watch:
    """Both programs beside a daemon; all that differs from what is shipped are ports."""

    folder: Path
    daemon: Daemon
    notices: list[Notice] = field(default_factory=list)
    ports: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.ports = {name: free_port() for name in ("prometheus", "alertmanager")}

    @contextmanager
    def running(self) -> Iterator["Watch"]:
        """Run everything, and leave nothing behind."""
        programs = [program("prometheus"), program("prometheus-alertmanager", "alertmanager")]
        receiver = ThreadingHTTPServer(("127.0.0.1", 0), _receiver(self.notices))
        ear = threading.Thread(target=receiver.serve_forever, daemon=True)
        ear.start()
        self._configure(receiver.server_port)
        processes: list[subprocess.Popen[bytes]] = []
        try:
            for one, command in zip(programs, self._commands(), strict=True):
                with (self.folder / f"{Path(one).name}.log").open("w") as log:
                    processes.append(subprocess.Popen([one, *command], stdout=log, stderr=log))
            until(lambda: all(map(self._ready, self.ports)))
            yield self
        finally:
            for process in processes:
                process.kill()
                process.wait()
            receiver.shutdown()
            receiver.server_close()

    def _configure(self, receiver: int) -> None:
        ports = {
            "9177": self.daemon.ports["http"],
            "9093": self.ports["alertmanager"],
            "9095": receiver,
        }
        shutil.copytree(SHIPPED, self.folder, dirs_exist_ok=True)
        for path in [*self.folder.glob("*.yml"), *self.folder.glob("targets/*.yml")]:
            text = path.read_text()
            for shipped, ours in ports.items():
                text = text.replace(f"127.0.0.1:{shipped}", f"127.0.0.1:{ours}")
            path.write_text(text)

    def _commands(self) -> Iterator[list[str]]:
        yield [
            f"--config.file={self.folder}/prometheus.yml",
            f"--storage.tsdb.path={self.folder}/prometheus",
            f"--web.listen-address=127.0.0.1:{self.ports['prometheus']}",
        ]
        yield [
            f"--config.file={self.folder}/alertmanager.yml",
            f"--storage.path={self.folder}/alertmanager",
            f"--web.listen-address=127.0.0.1:{self.ports['alertmanager']}",
            "--cluster.listen-address=",
        ]

    def _ready(self, name: str) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}/-/ready", timeout=5)
        except URLError:
            return False
        return True

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Ask Prometheus for what an expression is now."""
        asked = urllib.parse.urlencode({"query": expression})
        url = f"http://127.0.0.1:{self.ports['prometheus']}/api/v1/query?{asked}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return result

    def firing(self) -> set[str]:
        """Name the alerts that fire now."""
        found = self.query('ALERTS{alertstate="firing"}')
        return {str(one["metric"]["alertname"]) for one in found}

    def told(self, alert: str, status: str, stream: str | None = None, since_s: float = 0) -> float:
        """Wait until an alert is told, and give when it was."""

        def wanted() -> list[Notice]:
            sought = (alert, stream, status)
            heard = [n for n in self.notices if n.at_s > since_s]
            return [n for n in heard if (n.alert, n.stream, n.status) == sought]

        until(wanted)
        return wanted()[0].at_s


def _receiver(notices: list[Notice]) -> type[BaseHTTPRequestHandler]:
    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            now_s = time.monotonic()
            said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            for one in said["alerts"]:
                labels = one["labels"]
                notices.append(
                    Notice(now_s, labels["alertname"], labels.get("stream"), one["status"])
                )
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Receiver


class Observing:
    """A telescope that plays a sky round and round, at the pace of the sky."""

    def __init__(self, daemon: Daemon, stream: str, sky: Sky) -> None:
        self._player = Telescope(daemon, stream).player
        self._header = sky.header
        self._blocks = list(SkySource(sky, 400).blocks())
        self._began_s = time.monotonic()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def on(self) -> None:
        """Send, at the samples of which it is time now."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def off(self) -> None:
        """Send no more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """End for good."""
        self.off()
        self._player.close()

    def _play(self) -> None:
        self._player.begin(self._header)
        step = len(self._blocks[0].spectra)
        step_s = step * self._header.tsamp_s
        number = int((time.monotonic() - self._began_s) / step_s) + 1
        while not self._stop.wait(self._began_s + number * step_s - time.monotonic()):
            block = self._blocks[number % len(self._blocks)]
            self._player.send(replace(block, start=number * step))
            number += 1
