"""The life of the daemon: start, watch, tell, reload, end."""

import gc
import logging
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..channel import merge, prefetch
from ..config import DaemonConfig
from ..curve import refuse_open
from ..data import Report
from ..disk import make_folder
from ..errors import ConfigError, MlppaError, SinkError
from ..known import Sky
from ..live import Judge, Observation, Stream, Told, load_judges, read_sky
from ..metrics import DISK_FREE, DISK_SIZE
from ..publish import Outlet
from ..results import draw_pulses, write_cutouts
from ..sinks import open_sink
from ..sinks.folder import FolderSink
from ..sinks.journal import Journal
from ..sinks.reader import JournalReader
from ..sources import Resumable, open_feed
from ..warmup import warm_up
from .beam import Beam
from .http import Answer, Pages
from .notify import Notifier, watchdog_s
from .resume import Resumed

if TYPE_CHECKING:
    from ..sinks import Sink

log = logging.getLogger(__name__)

#: The loop turns so often where nothing comes.
TICK_S = 0.25

#: Reports that wait for the messages of others, and for their pictures: messages do not wait.
DEPTH, UNDRAWN = 8, 64

#: Data that have waited for so long without a report: something is stuck.
STUCK_S = 30.0

#: What became of synthetic pulses is drawn so often, and at the end.
DRAW_EVERY_S = 3600.0

#: The journal is trimmed so often.
TRIM_S = 5.0


@dataclass(frozen=True, slots=True)
class _Done:
    """A report that was sent, whose pictures are yet to be drawn; or an observation begins."""

    stream: str
    observation: Observation
    report: Report | None


class Daemon:
    """Streams beside a telescope, for weeks.

    What can be wrong with the configuration, the network, the folder or a port is found when
    `run` begins, before any sample is read; but for the port of the metrics, which is tried
    again.

    Parameters
    ----------
    config
        What to do.
    reread
        Reads the configuration again.

    Raises
    ------
    MlppaError
        As the parts do.
    """

    def __init__(self, config: DaemonConfig, reread: Callable[[], DaemonConfig]) -> None:
        self.config = config
        self._reread = reread
        self._streams: dict[str, Stream] = {}
        self._beams: dict[str, Beam] = {}
        self._journals: dict[str, Journal] = {}
        self._judges: list[Judge] = []
        self._sky = Sky()
        self._pages: Pages | None = None
        self._pictures: FolderSink | None = None
        self._notifier = Notifier()
        self._stop_by_s: float | None = None
        self._wants_reload = False
        self._turned_s = time.monotonic()
        self._trimmed_s = time.monotonic()
        self._drawn_s = time.monotonic()
        self._ready = False
        self._stack = ExitStack()

    def stop(self) -> None:
        """End soon, from any thread or signal handler: what is in flight still comes out."""
        if self._stop_by_s is None:
            self._stop_by_s = time.monotonic() + self.config.life.stop_s
            self._notifier.tell(STOPPING=1)
        for stream in self._streams.values():
            stream.close()

    def reload(self) -> None:
        """Read the configuration again soon, from any thread or signal handler."""
        self._wants_reload = True

    def run(self) -> None:
        """Run until `stop`, or until every input has ended."""
        with ExitStack() as stack:
            self._stack = stack
            self._open(stack)
            self._ready = True
            status = f"{len(self._streams)} streams"
            self._notifier.tell(READY=1, STATUS=status)
            log.info("ready: %s", status)
            sent = stack.enter_context(
                closing(prefetch(self._sent(), UNDRAWN, "drop_oldest", name="sent"))
            )
            for done in sent:
                # what is sent is safe; a picture more is not worth a kill
                if self._stop_by_s is None or time.monotonic() < self._stop_by_s:
                    self._see_to(done)
            self._draw_recovery()
            log.info("ended: all that came is told")

    def _open(self, stack: ExitStack) -> None:
        """Make everything ready; what holds a place is given back with the stack."""
        # numba takes seconds to import, and a refusal should not wait for it
        from ..dedisperse.engine import Engine

        config = self.config
        make_folder(config.output)
        if config.publish.images or config.publish.cutouts:
            budget_bytes = config.life.pictures_gib * 2**30
            self._pictures = stack.enter_context(closing(FolderSink(config.output, budget_bytes)))
        stack.callback(self._notifier.close)
        if config.life.http is not None:
            answers: dict[str, Answer] = {
                "/healthz": self._is_well,
                "/readyz": self._is_ready,
                "/about": self._about,
            }
            pages = Pages(config.life.http, answers, config.output)
            self._pages = stack.enter_context(closing(pages))
        outlets = [Outlet(sink) for sink in self._open_sinks(stack)]
        for name in config.inputs:
            journal = Journal(journal_path(config, name), name, None)
            self._journals[name] = stack.enter_context(closing(journal))
        self._judges = load_judges(config)
        self._sky = read_sky(config)
        for name, uris in config.inputs.items():
            kernel = stack.enter_context(closing(Engine(config.search.threads)))
            for res in {judge.classifier.res for judge in self._judges}:
                warm_up(res, 8, kernel)
            feed = open_feed(uris, config.known_header)
            stack.callback(feed.close)
            resumed = None
            if isinstance(feed, Resumable):
                resumed = Resumed(self._journals[name])
                if resumed.mjd is not None:
                    feed.go_on_after(resumed.mjd)
            beam = Beam(name, config, self._journals[name], outlets, resumed)
            beam.publisher.catch_up()
            self._beams[name] = beam
            self._streams[name] = Stream(name, config, feed, self._judges, kernel)
            self._streams[name].sky = self._sky
        self._trim()
        if self._stop_by_s is not None:
            self.stop()
        # what is here by now stays: nothing to look through again and again
        gc.collect()
        gc.freeze()

    def _open_sinks(self, stack: ExitStack) -> Iterator["Sink"]:
        from ..sinks.zmq import ReplayServer

        wanted = self.config.publish
        keys = wanted.keys
        for address in (wanted.detections, wanted.replay, *wanted.sinks):
            if address is not None and keys is None and not wanted.open:
                refuse_open(address, "publish.key and publish.clients")
        if wanted.replay is not None:
            paths = {name: journal_path(self.config, name) for name in self.config.inputs}
            stack.enter_context(ReplayServer(paths, wanted.replay, keys))
        if wanted.detections is not None:
            yield self._open_sink(wanted.detections, stack)
        for uri in wanted.sinks:
            yield self._open_sink(uri, stack)

    def _open_sink(self, uri: str, stack: ExitStack) -> "Sink":
        """Open a sink; one that others can reach has keys, if there are any."""
        from ..sinks.zmq import ZmqSink

        keys = self.config.publish.keys
        is_zmq = uri.startswith(("tcp:", "ipc:"))
        return stack.enter_context(closing(ZmqSink(uri, keys) if is_zmq else open_sink(uri)))

    def _sent(self) -> Generator[_Done]:
        """Take in what streams tell, send it, and see to everything else now and then."""
        told = merge(
            {name: stream.tell() for name, stream in self._streams.items()},
            DEPTH,
            TICK_S,
            name="publish",
        )
        with closing(told):
            for item in told:
                self._turned_s = time.monotonic()
                if item is not None:
                    yield from self._take(*item)
                self._tend()
                if self._stop_by_s is not None and self._turned_s > self._stop_by_s:
                    log.error("not done in time: what is still in flight is lost")
                    break
        for beam in self._beams.values():
            beam.stop()

    def _take(self, name: str, told: Told) -> Iterator[_Done]:
        self._beams[name].take(told)
        report = told.report
        # synthetic pulses are drawn even where no pictures are wanted
        due = time.monotonic() - self._drawn_s >= DRAW_EVERY_S
        if report is None or due or any(d.picture is not None for d in report.detections):
            yield _Done(name, told.observation, report)

    def _tend(self) -> None:
        """See to what is not about one report."""
        if self._wants_reload:
            self._wants_reload = False
            self._load_again()
        stopping = self._stop_by_s is not None
        for beam in self._beams.values():
            beam.stop() if stopping else beam.look()
        if self._pages is not None:
            self._pages.keep_open()
        if self._turned_s - self._trimmed_s >= TRIM_S:
            self._trimmed_s = self._turned_s
            self._trim()
        if watchdog_s() is not None and not self._stuck():
            states = ", ".join(f"{one.name} {one.state}" for one in self._beams.values())
            self._notifier.tell(WATCHDOG=1, STATUS=states)

    def _begin_journal_again(self, name: str) -> None:
        """Begin another journal where the one that is open has been removed."""
        try:
            make_folder(self.config.output)
            journal = Journal(self._journals[name].path, name, None)
        except SinkError as error:
            log.error("%s: its journal is gone, and there can be no other: %s", name, error)
            return
        log.error("%s: its journal is gone: another one is begun, numbers begin anew", name)
        self._journals[name] = self._stack.enter_context(closing(journal))
        self._beams[name].begin_anew(journal)

    def _trim(self) -> None:
        with suppress(OSError):  # a folder that is gone is told by whoever writes to it
            disk = shutil.disk_usage(self.config.output)
            DISK_FREE.set(disk.free)
            DISK_SIZE.set(disk.total)
        for name, journal in [*self._journals.items()]:
            if not journal.is_there:
                self._begin_journal_again(name)
                continue
            try:
                journal.forget(self.config.life.keep_messages)
            except SinkError as error:
                # the beam says so by itself when it cannot write
                log.debug("%s: the journal cannot be trimmed: %s", name, error)

    def _load_again(self) -> None:
        """Take thresholds, masks and known sources from the configuration as it is now."""
        self._notifier.tell(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)
        try:
            config = self._reread()
            changed = _unchangeable(self.config, config)
            if changed:
                remedy = "restart for these"
                raise ConfigError("the configuration", f"{', '.join(changed)} changed", remedy)
            judges = load_judges(config)
            if max(j.classifier.res for j in judges) > max(j.classifier.res for j in self._judges):
                cause = "a network with more pixels than there is room for"
                raise ConfigError("watchdog.ladder", cause, "restart for it")
            self._sky = read_sky(config, self._sky)
            self._judges = judges
        except MlppaError as error:
            log.error("nothing is reloaded: %s", error)
        else:
            self.config = config
            for name, stream in self._streams.items():
                stream.reload(config, self._judges, self._sky)
                self._beams[name].reload(config)
            log.info("reloaded: thresholds, masks and known sources")
        self._notifier.tell(READY=1)

    def _draw_recovery(self) -> None:
        """Draw what became of synthetic pulses, if there are any."""
        from ..plots import plot_recovery

        for name, journal in self._journals.items():
            try:
                with JournalReader(journal.path) as reader:
                    put = list(reader.injections())
                if put:
                    plot_recovery(put, self.config.output / f"{name}-injections.png")
            except SinkError as error:
                log.warning("no picture: %s", error)

    def _see_to(self, done: _Done) -> None:
        """See to what may take its time; a picture that cannot be written is only told."""
        self._streams[done.stream].ask_galaxy(done.observation.plan.header)
        if time.monotonic() - self._drawn_s >= DRAW_EVERY_S:
            self._drawn_s = time.monotonic()
            self._draw_recovery()
        if done.report is None:
            return
        origin, wanted = done.observation.origins[done.report.rung], self.config.publish
        try:
            if wanted.cutouts:
                write_cutouts(done.report, origin, self.config.output)
            if wanted.images:
                for _ in draw_pulses(done.report, origin, self.config.output):
                    pass
            if self._pictures is not None:
                self._pictures.look()
        except SinkError as error:
            log.warning("no picture: %s", error)

    def _stuck(self) -> list[str]:
        return [name for name, beam in [*self._beams.items()] if beam.stuck_s() > STUCK_S]

    def _is_well(self) -> tuple[bool, dict[str, Any]]:
        """Tell whether it does what it should, whatever comes in."""
        idle_s = time.monotonic() - self._turned_s
        stuck = self._stuck()
        well = self._ready and idle_s < STUCK_S and not stuck
        said = {"well": well, "last_turn_s": round(idle_s, 3), "stuck": stuck}
        return well, said | {"streams": self._described()}

    def _is_ready(self) -> tuple[bool, dict[str, Any]]:
        """Tell whether all streams receive data and search them."""
        ready = self._ready and all(
            beam.state in ("live", "late", "insensitive") for beam in [*self._beams.values()]
        )
        return ready, {"ready": ready, "streams": self._described()}

    def _about(self) -> tuple[bool, dict[str, Any]]:
        """Tell whoever wants to follow where the messages are."""
        wanted = self.config.publish
        where = {"detections": wanted.detections, "replay": wanted.replay}
        return True, {"version": __version__, "streams": sorted(self._streams)} | where

    def _described(self) -> dict[str, Any]:
        return {name: beam.described() for name, beam in [*self._beams.items()]}


def journal_path(config: DaemonConfig, stream: str) -> Path:
    """Give where the journal of a stream lies."""
    return config.output / f"{stream}.sqlite"


#: What may change while the daemon runs, by section; all else needs a restart.
CHANGEABLE = {
    "search": {"threshold", "zap_mhz"},
    "classify": {"min_probability"},
    "known": {"file", "radius_deg"},
    "watchdog": {"ladder"},
    "inject": {"alert_below"},
    "life": {"health_every_s", "silent_s", "stop_s", "keep_messages"},
}


def _unchangeable(before: DaemonConfig, after: DaemonConfig) -> list[str]:
    """Name the settings that differ and cannot be changed at run time."""
    old, new = before.model_dump(), after.model_dump()
    changed = []
    for name in old:
        if isinstance(old[name], dict) and isinstance(new[name], dict) and name != "streams":
            keys = old[name].keys() | new[name].keys()
            fixed = keys - CHANGEABLE.get(name, set())
            changed += [
                f"{name}.{k}" for k in sorted(fixed) if old[name].get(k) != new[name].get(k)
            ]
        elif old[name] != new[name]:
            changed.append(name)
    return changed


def open_daemon(path: Path) -> Daemon:
    """Make a daemon of a configuration file.

    Raises
    ------
    ConfigError
        Where it cannot be used.
    """
    return Daemon(DaemonConfig.load(path), partial(DaemonConfig.load, path))
