"""A synthetic sky through the whole program: what was put in against what was found."""

import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .config import Config, PublishSettings, checked
from .disk import make_folder
from .dispersion import sweep_s
from .listen import listen
from .offline import Search
from .plots import plot_found
from .results import JOURNAL
from .simulate import (
    L_BAND,
    Interference,
    Population,
    Pulse,
    Sky,
    match,
    random_sky,
    write_filterbank,
)
from .sinks.journal import remove_journal
from .wire import CoverageMessage, DetectionMessage

#: Receiver of the demo.
HEADER = replace(L_BAND, tstart_mjd=60000.25, source_name="demo", telescope="Fake")

#: A pulse every two seconds.
PULSES_PER_SECOND = 0.5
POPULATION = Population(snr=(9.0, 40.0), dm=(20.0, 800.0), width_ms=(0.5, 15.0))

#: Name of its messages.
STREAM = "demo"

#: The search stays reachable until the subscriber has everything, and not longer than this.
LINGER_S = 10.0

#: Below this S/N a pulse may be missed; the demo says so but does not mind.
SURE_SNR = 8.0


@dataclass(frozen=True)
class DemoResult:
    """What came of the demo.

    Parameters
    ----------
    pairs
        Every pulse put in, with its detection or None.
    false
        Detections that no pulse explains.
    received
        Detections that a subscriber received over ZeroMQ.
    rejected
        Candidates that were rejected as interference.
    picture, folder, data
        Where to look, and the sky itself.
    """

    pairs: tuple[tuple[Pulse, DetectionMessage | None], ...]
    false: tuple[DetectionMessage, ...]
    received: int
    rejected: int
    summary: dict[str, Any]
    picture: Path
    folder: Path
    data: Path

    def lines(self) -> list[str]:
        """Say it in a few lines."""
        sure = [pair for pair in self.pairs if pair[0].snr >= SURE_SNR]
        found = sum(detection is not None for _, detection in sure)
        return [
            f"{found} of {len(sure)} pulses above S/N {SURE_SNR:g} found, "
            f"{len(self.false)} false detections, "
            f"{self.rejected} candidates rejected as interference.",
            f"{self.received} detections came in over ZeroMQ; "
            f"{self.summary['real_time_factor']:.1f} times real time.",
            f"The picture: {self.picture}",
            f"A picture of each detection, and all results: {self.folder}",
        ]

    def as_json(self) -> dict[str, Any]:
        """Give it as plain values."""
        return {
            "pulses": [
                {
                    "put_in": asdict(pulse),
                    "found": found.model_dump(by_alias=True) if found else None,
                }
                for pulse, found in self.pairs
            ],
            "false": [d.model_dump(by_alias=True) for d in self.false],
            "received": self.received,
            "rejected": self.rejected,
            "picture": str(self.picture),
            "summary": self.summary,
        }


def demo_sky(seconds: float, seed: int) -> Sky:
    """Draw the sky of the demo: pulses among interference of every kind."""
    count = max(int(seconds * PULSES_PER_SECOND), 1)
    sky = random_sky(HEADER, seconds, replace(POPULATION, n_pulses=count), True, seed)
    clear = (i for i in sky.interference if not any(_hides(i, pulse) for pulse in sky.pulses))
    return replace(sky, interference=tuple(clear))


def _hides(item: Interference, pulse: Pulse) -> bool:
    """Whether a chirp lies on a pulse from the top of the band to its bottom."""
    end_s = pulse.time_s + sweep_s(pulse.dm, HEADER.freqs_mhz)
    apart_s = max(abs(item.start_s - pulse.time_s), abs(item.stop_s - end_s))
    return item.kind == "chirp" and apart_s < 0.25 * (item.stop_s - item.start_s)


def run_demo(
    folder: Path,
    seconds: float,
    seed: int,
    follow: Callable[[Search], None],
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> DemoResult:
    """Simulate, search, publish to a subscriber of our own, and compare.

    Parameters
    ----------
    folder
        For the data and all results; those of an earlier demo are replaced.
    seconds, seed
        Of the sky.
    follow
        Runs the search, showing its progress.
    tell
        Is called with the number of samples simulated, and to be simulated.
    """
    make_folder(folder)
    remove_journal(folder / JOURNAL, STREAM)
    sky = demo_sky(seconds, seed)
    data = folder / "demo.fil"
    write_filterbank(sky, data, lambda done: tell(done, sky.nsamples))
    with tempfile.TemporaryDirectory(prefix="mlppa-") as short:  # socket paths are limited
        wanted = PublishSettings(
            detections=f"ipc://{short}/demo", replay=f"ipc://{short}/past", linger_s=LINGER_S
        )
        content = {
            "stream": STREAM,
            "input": [str(data)],
            "output": folder,
            "publish": wanted.model_dump(),
        }
        search = Search(checked(Config, content, "demo"))
        with _Subscriber(wanted, sky.nsamples, search.close) as subscriber:
            follow(search)
    pairs, false = match(sky.pulses, search.detections, sky.header)
    picture = folder / "found.png"
    plot_found(pairs, false, picture)
    return DemoResult(
        pairs=tuple(pairs),
        false=tuple(false),
        received=subscriber.detections,
        rejected=search.summary["candidates"] - search.summary["detections"],
        summary=search.summary,
        picture=picture,
        folder=folder,
        data=data,
    )


class _Subscriber:
    """Counts the detections that come in over ZeroMQ, in a thread, until all sky is covered.

    It may be late, as any subscriber may: what was sent before it was there, it asks the
    replay address for. Then ``done`` is called, for nobody else need wait.
    """

    def __init__(self, wanted: PublishSettings, nsamples: int, done: Callable[[], None]) -> None:
        self.detections = 0
        self._wanted, self._nsamples, self._done = wanted, nsamples, done
        self._thread = threading.Thread(target=self._count, name="subscriber", daemon=True)

    def __enter__(self) -> "_Subscriber":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # a search that failed sends no last message: the thread goes with the process
        if kind is None:
            self._thread.join(LINGER_S)

    def _count(self) -> None:
        assert self._wanted.detections is not None
        for message in listen(self._wanted.detections, self._wanted.replay, from_seq=1):
            if not isinstance(message, CoverageMessage):
                self.detections += 1
            elif message.decided_to >= self._nsamples:
                break
        self._done()
