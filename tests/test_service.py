"""The daemon rehearses what telescopes do to software: real processes, sockets and signals."""

import json
import os
import re
import resource
import shutil
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path

import pytest

from mlppa.errors import ConfigError, EndpointError
from mlppa.metrics import FATES
from mlppa.service.http import Pages
from mlppa.simulate import Pulse, write_filterbank
from mlppa.wire import CoverageMessage, DetectionMessage, HealthMessage, InjectionMessage

from .daemon import Daemon, Ear, Telescope, ended, free_port, until
from .skies import HEADER, PULSES, SKY

NSAMPLES = SKY.nsamples


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with ended(Daemon(tmp_path)) as one:
        yield one


def dms(pulses: Sequence[DetectionMessage]) -> list[float]:
    return [m.dm for m in pulses]


EXPECTED = [pytest.approx(p.dm, abs=6) for p in PULSES]


def covered(messages: Sequence[CoverageMessage]) -> dict[str, int]:
    """Add up, having seen that nothing is missing between."""
    assert all(a.stop == b.start for a, b in pairwise(messages))
    sums = {fate: sum(getattr(m, fate) for m in messages) for fate in FATES}
    assert sum(sums.values()) == messages[-1].stop - messages[0].start
    return sums


def numbers_rise(messages: Sequence[object]) -> bool:
    return [getattr(m, "seq", None) for m in messages] == list(range(1, len(messages) + 1))


# Life


def test_a_stream_is_searched_published_and_drained(daemon: Daemon) -> None:
    daemon.start()
    with Ear(daemon) as ear, Telescope(daemon) as telescope:
        ear.listen()
        assert daemon.state() == "waiting"
        assert daemon.get("/readyz")[0] == 503
        telescope.play()
        until(lambda: daemon.get("/healthz")[1]["streams"]["b0"]["latency_s"])
        assert daemon.stop() == 0
        heard = ear.listen()
    kept = daemon.messages()
    assert numbers_rise(kept)
    assert [m for m in kept if m in heard] == heard[-len(kept) :]
    assert dms(daemon.pulses()) == EXPECTED
    assert all(m.latency_s is not None and 0 <= m.latency_s < 30 for m in daemon.pulses())
    sums = covered(daemon.coverage())
    assert sums["searched"] == NSAMPLES
    assert {t for t in ear.topics if t.startswith("det")} == {"det.b0"}
    assert [h.state for h in daemon.health()][-1] == "stopping"


def test_sigterm_lets_out_what_is_in_flight(daemon: Daemon) -> None:
    daemon.start()
    with Telescope(daemon) as telescope:
        # the last pulse's image is not complete, nor is its gulp
        telescope.play(replace(SKY, nsamples=8000))
        until(lambda: daemon.coverage() and daemon.coverage()[-1].stop >= 4096)
        assert daemon.stop() == 0
    assert dms(daemon.pulses()) == EXPECTED
    assert covered(daemon.coverage())["searched"] == 8000


def test_a_second_sigterm_ends_it_at_once(tmp_path: Path) -> None:
    slow = {"MLPPA_TEST_SLOW_S": "3"}
    with ended(Daemon(tmp_path, environ=slow)) as daemon:
        daemon.start()
        with Telescope(daemon) as telescope:
            telescope.play()
            until(lambda: "observation" in daemon.log)
            time.sleep(1)
            began = time.monotonic()
            daemon.signal(signal.SIGTERM)
            time.sleep(0.3)
            daemon.signal(signal.SIGTERM)
            assert daemon.wait() == -signal.SIGTERM
    assert time.monotonic() - began < 3


def test_what_takes_too_long_at_the_end_is_given_up(tmp_path: Path) -> None:
    slow = {"MLPPA_TEST_SLOW_S": "4"}
    with ended(Daemon(tmp_path, "[life]\nstop_s = 1.0\n", environ=slow)) as daemon:
        daemon.start()
        with Telescope(daemon) as telescope:
            telescope.play()
            until(lambda: "observation" in daemon.log)
            began = time.monotonic()
            assert daemon.stop() == 0
    assert time.monotonic() - began < 15
    assert "not done in time" in daemon.log


def test_the_service_manager_is_told(tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(60)
        environ = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "5000000"}
        with ended(Daemon(tmp_path, environ=environ)) as daemon:
            daemon.launch()
            assert manager.recv(4096).decode().startswith("READY=1\nSTATUS=")
            assert "WATCHDOG=1" in manager.recv(4096).decode()
            daemon.signal(signal.SIGHUP)
            said = ""
            while "RELOADING=1" not in said:
                said = manager.recv(4096).decode()
            assert re.search(r"MONOTONIC_USEC=\d+", said)
            while "READY=1" not in said:
                said = manager.recv(4096).decode()
            daemon.signal(signal.SIGTERM)
            while "STOPPING=1" not in said:
                said = manager.recv(4096).decode()
            assert daemon.wait() == 0


def test_a_stream_that_is_stuck_is_not_said_to_be_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlppa.config import DaemonConfig
    from mlppa.service import Daemon as Service
    from mlppa.service.beam import Beam

    config = DaemonConfig(input=["a.fil"], output=tmp_path)
    service = Service(config, lambda: config)
    service._ready = True
    monkeypatch.setattr(Beam, "stuck_s", lambda self: 100.0)
    monkeypatch.setattr(Beam, "described", lambda self: {})
    service._beams["b0"] = object.__new__(Beam)
    well, said = service._is_well()
    assert not well
    assert said["stuck"] == ["b0"]


def test_a_second_daemon_on_the_same_stream_is_refused(daemon: Daemon, tmp_path: Path) -> None:
    daemon.start()
    other = Daemon(tmp_path)
    other.process = None
    before = len(other.log)
    other.launch()
    assert other.wait() == 4
    assert "another process writes to this journal" in other.log[before:]
    assert daemon.lives


def test_thresholds_masks_and_known_sources_are_reloaded(tmp_path: Path) -> None:
    known = tmp_path / "known.csv"
    known.write_text("name,RA,Dec,DM\nJ0000+0000,00:00:00,+00:00:00,60\n")
    header = replace(HEADER, ra_deg=0.01, dec_deg=0.0)
    section = f'[known]\nfile = "{known}"\n'
    with ended(Daemon(tmp_path, section)) as daemon, Telescope(daemon) as telescope:
        daemon.start()
        telescope.play(header=header)
        until(lambda: len(daemon.pulses()) >= 3)
        assert [m.known_source for m in daemon.pulses()][:2] == ["J0000+0000", None]
        known.write_text("name,RA,Dec,DM\nJ1111+0000,00:00:00,+00:00:00,60\n")
        more = "[search]\nthreshold = 20.5\nzap_mhz = [[1400.0, 1420.0]]\n"
        daemon.configure(section + more)
        daemon.signal(signal.SIGHUP)
        until(lambda: "reloaded" in daemon.log)
        count = len(daemon.pulses())
        telescope.play(header=header, start=40 * 2048)
        until(lambda: len(daemon.pulses()) >= count + 2)
        assert daemon.stop() == 0
        later = [m for m in daemon.pulses() if m.sample > 40 * 2048]
        assert dms(later) == [pytest.approx(210, abs=6), pytest.approx(330, abs=6)]
        zapped = [c for c in daemon.coverage() if c.start > 41 * 2048]
        assert all(c.masked_channels >= 4 for c in zapped if c.searched)


def test_a_ladder_may_grow_and_shrink_while_it_is_stood_on(tmp_path: Path) -> None:
    slow = {"MLPPA_TEST_SLOW_S": "0.4"}
    ladder = "[watchdog]\npatience_s = 0.0\nqueue_s = 5.0\nladder = [{}]\n"
    short, long = (ladder.format(rungs) for rungs in ("{batch = 16}", "{batch = 16}, {batch = 8}"))
    pulses = tuple(Pulse(time_s=1.0 + 0.9 * n, dm=200.0, width_ms=3.0, snr=30.0) for n in range(60))
    sky = replace(SKY, nsamples=30 * 2048, pulses=pulses)
    with ended(Daemon(tmp_path, long, environ=slow)) as daemon, Telescope(daemon) as telescope:
        daemon.start()
        telescope.play(sky, heap=512, pause_s=0.02)
        until(lambda: daemon.health()[-1].rung == 2)
        for number, more in enumerate((short, long), start=1):
            daemon.configure(more)
            daemon.signal(signal.SIGHUP)
            until(lambda n=number: daemon.log.count("reloaded") == n)  # type: ignore[misc]
            until(lambda n=number: daemon.health()[-1].rungs == n + 1)  # type: ignore[misc]
        assert daemon.lives
        assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[search]\nthreshold = -1.0\n", "threshold: -1 is out of range"),
        ("[search]\ndm_max = 900.0\n", "search.dm_max changed; restart for these"),
        ('[watchdog]\nladder = [{ model = "nowhere" }]\n', "nowhere"),
    ],
)
def test_a_bad_reload_changes_nothing(text: str, said: str, daemon: Daemon) -> None:
    daemon.start()
    daemon.configure(text)
    daemon.signal(signal.SIGHUP)
    until(lambda: "nothing is reloaded" in daemon.log)
    assert said in daemon.log
    with Telescope(daemon) as telescope:
        telescope.play()
        until(lambda: len(daemon.pulses()) >= 4)
    assert daemon.stop() == 0


def test_the_log_can_be_json(tmp_path: Path) -> None:
    with ended(Daemon(tmp_path, '[life]\nlog = "json"\n')) as daemon:
        daemon.start()
        assert daemon.stop() == 0
    lines = [json.loads(line) for line in daemon.log.splitlines()]
    assert {"time", "level", "name", "message"} == set(lines[0])
    assert any(line["message"].startswith("ready:") for line in lines)


# What comes in


def test_silence_is_told_and_the_sender_may_come_back(daemon: Daemon) -> None:
    daemon.start()
    with Ear(daemon) as ear, Telescope(daemon) as telescope:
        ear.listen()
        telescope.play(replace(SKY, nsamples=3000))
        until(lambda: daemon.state() == "silent")
        # all that was there has come out, though the gulp was not full
        assert dms(daemon.pulses()) == EXPECTED[:2]
        telescope.play(start=10_240)
        until(lambda: daemon.state() == "silent" and len(daemon.pulses()) == 7)
        assert daemon.stop() == 0
        states = [m.state for m in ear.listen() if isinstance(m, HealthMessage) and m.news]
    assert states[-1] == "stopping"
    assert "silent" in states
    sums = covered(daemon.coverage())
    assert sums["searched"] == 3000 + NSAMPLES
    # in the second silence the gulp at hand was let go, too
    assert sums["missing"] == 10_240 - 3000 + -(10_240 + NSAMPLES) % 2048


def test_a_hole_is_missing_to_the_sample_and_pulses_beside_it_are_found(daemon: Daemon) -> None:
    daemon.start()
    with Telescope(daemon) as telescope:
        telescope.play(without=(5600, 7000))
        until(lambda: len(daemon.pulses()) >= 4)
        assert daemon.stop() == 0
    sums = covered(daemon.coverage())
    assert sums["missing"] == 1400
    assert sums["searched"] == NSAMPLES - 1400
    assert dms(daemon.pulses()) == EXPECTED


def test_a_counter_that_begins_anew_is_another_observation(daemon: Daemon) -> None:
    daemon.start()
    with Telescope(daemon) as telescope:
        telescope.play(start=200_000)
        telescope.play()
        until(lambda: len(daemon.pulses()) >= 9)
        assert daemon.stop() == 0
    assert len(daemon.pulses()) == 10
    assert numbers_rise(daemon.messages())
    assert len({m.id for m in daemon.pulses()}) == 10
    assert daemon.log.count("observation of the sky begins") == 2


def test_the_same_sky_again_is_published_again(daemon: Daemon) -> None:
    """As when somebody replays a file for the second time: it is not the first one."""
    daemon.start()
    with Telescope(daemon) as telescope:
        for _ in (1, 2):
            telescope.play()
            telescope.play(header=replace(HEADER, source_name="another"))
        until(lambda: len(daemon.pulses()) >= 19)
        assert daemon.stop() == 0
    assert len(daemon.pulses()) == 20


def test_an_observation_that_cannot_be_searched_is_passed_over(daemon: Daemon) -> None:
    daemon.start()
    narrow = replace(HEADER, fch1_mhz=90_000.0, foff_mhz=-0.001)
    with Telescope(daemon) as telescope:
        telescope.play(replace(SKY, nsamples=400), header=narrow)
        until(lambda: "cannot be searched on" in daemon.log)
        telescope.play()
        until(lambda: len(daemon.pulses()) >= 4)
        status, metrics = daemon.get("/metrics")
        assert status == 200
        assert 'mlppa_refused_observations_total{stream="b0"} 1.0' in metrics
        assert daemon.stop() == 0


def test_several_beams_are_streams_of_their_own(tmp_path: Path) -> None:
    other = replace(SKY, header=replace(HEADER, beam=1), pulses=PULSES[2:3], seed=9)
    with ended(Daemon(tmp_path, streams=("b0", "b1"))) as daemon:
        daemon.start()
        with Telescope(daemon) as first, Telescope(daemon, "b1") as second:
            first.play()
            second.play(other)
            until(lambda: len(daemon.pulses()) >= 4 and daemon.pulses("b1"))
            assert daemon.stop() == 0
    assert dms(daemon.pulses()) == EXPECTED
    assert dms(daemon.pulses("b1")) == EXPECTED[2:3]
    assert {m.beam for m in daemon.pulses("b1")} == {1}
    assert numbers_rise(daemon.messages("b1"))


def test_overload_sheds_whole_gulps_and_says_so(tmp_path: Path) -> None:
    """A network that takes a second for what stands for two, at many times that pace."""
    slow = {"MLPPA_TEST_SLOW_S": "0.3"}
    more = "[watchdog]\nqueue_s = 5.0\nladder = [{ threshold = 12.0 }]\npatience_s = 0.1\n"
    sky = replace(SKY, nsamples=30 * 2048, pulses=())
    bright = tuple(Pulse(time_s=1.0 + 1.4 * n, dm=200.0, width_ms=3.0, snr=30.0) for n in range(40))
    sky = replace(sky, pulses=bright)
    with ended(Daemon(tmp_path, more, environ=slow)) as daemon:
        daemon.start()
        with Ear(daemon) as ear, Telescope(daemon) as telescope:
            ear.listen()
            telescope.play(sky, heap=512, pause_s=0.01)
            until(lambda: daemon.state() == "silent")
            assert daemon.stop() == 0
            health = [m for m in ear.listen() if isinstance(m, HealthMessage)]
    sums = covered(daemon.coverage())
    assert sums["shed"] > 0
    assert sums["shed"] % 2048 == 0
    assert sums["searched"] + sums["shed"] == sky.nsamples
    assert "late" in {m.state for m in health}
    assert max(m.rung for m in health) == 1
    assert health[-1].shed == sums["shed"]
    holes = [(c.start_s, c.stop_s) for c in daemon.coverage() if c.shed]
    found = [m.time_s for m in daemon.pulses()]
    for pulse in bright:
        if not any(abs(t - pulse.time_s) < 0.05 for t in found):
            # its sweep of 0.2 s, and its image, lie in or beside what was shed
            assert any(a < pulse.time_s + 0.8 and b > pulse.time_s - 0.3 for a, b in holes)


def test_synthetic_pulses_never_stand_among_those_of_the_sky(tmp_path: Path) -> None:
    more = "[inject]\nper_hour = 1200\nsnr = [15.0, 30.0]\ndm = [60.0, 400.0]\nwidth_ms = [2, 8]\n"
    sky = replace(SKY, nsamples=16 * 2048, pulses=PULSES[2:3])
    with ended(Daemon(tmp_path, more)) as daemon:
        daemon.start()
        with Ear(daemon) as ear, Telescope(daemon) as telescope:
            ear.listen()
            telescope.play(sky)
            until(lambda: daemon.state() == "silent")
            assert daemon.stop() == 0
            ear.listen()
    topics = dict.fromkeys(("det.b0", "inj.b0"), 0) | {
        t: ear.topics.count(t) for t in set(ear.topics)
    }
    put = [m for m in daemon.messages() if isinstance(m, InjectionMessage)]
    assert len(put) >= 5
    assert all(m.found for m in put), put
    sky_pulses = [m for m in daemon.pulses() if not m.injected]
    assert dms(sky_pulses) == EXPECTED[2:3]
    assert topics["det.b0"] == 1
    assert topics["inj.b0"] == len(put) + len(daemon.pulses()) - 1
    assert {m.detection for m in put} <= {m.id for m in daemon.pulses() if m.injected}
    assert daemon.health()[-1].recovered == 1.0


# What is around it


def test_a_killed_daemon_loses_nothing_and_tells_nothing_twice(daemon: Daemon) -> None:
    heard: list[DetectionMessage] = []
    pieces = 6
    with Telescope(daemon) as telescope:
        for number in range(pieces):
            daemon.start()
            with Ear(daemon) as ear:
                ear.listen()
                telescope.play(start=number * 5 * 2048)
                time.sleep(0.15 * number)
                ear.listen()
                daemon.kill()
                heard += [m for m in ear.heard if isinstance(m, DetectionMessage)]
        daemon.start()
        assert daemon.stop() == 0
    kept = daemon.pulses()
    assert numbers_rise(daemon.messages())
    names = [m.id for m in kept]
    assert len(names) == len(set(names))
    times = sorted(m.time_s for m in kept)
    assert all(b - a > 0.1 for a, b in pairwise(times)), "nothing under two names"
    assert {m.id for m in heard} <= set(names), "what was heard is kept"
    assert len(kept) > 5


def test_the_time_when_nobody_looked_is_missing(daemon: Daemon) -> None:
    daemon.start()
    with Telescope(daemon) as telescope:
        telescope.play()
        until(lambda: len(daemon.pulses()) >= 4)
        assert daemon.stop() == 0
        daemon.start()
        telescope.play(start=30_720)
        until(lambda: len(daemon.pulses()) >= 9)
        assert daemon.stop() == 0
    sums = covered(daemon.coverage())
    assert sums["searched"] == 2 * NSAMPLES
    assert sums["missing"] == 30_720 - NSAMPLES
    assert len({m.id for m in daemon.pulses()}) == 10


def test_a_sender_that_begins_anew_while_nobody_looks_is_heard(daemon: Daemon) -> None:
    """Its header and its numbers are those of before: its messages are not."""
    for times in (1, 2):
        daemon.start()
        with Telescope(daemon) as telescope:
            telescope.play()
            until(lambda n=times: len(daemon.pulses()) >= 5 * n - 1)  # type: ignore[misc]
            assert daemon.stop() == 0
    assert len(daemon.pulses()) == 10
    assert sum(c.searched for c in daemon.coverage()) == 2 * NSAMPLES
    assert numbers_rise(daemon.messages())


def test_a_journal_that_is_removed_is_begun_again_and_told(daemon: Daemon) -> None:
    daemon.start()
    with Telescope(daemon) as telescope:
        telescope.play()
        until(lambda: len(daemon.pulses()) >= 4)
        shutil.rmtree(daemon.folder / "out")
        until(lambda: "its journal is gone: another one is begun" in daemon.log)
        telescope.play(start=20_480)
        until(lambda: len(daemon.pulses()) >= 4)
        assert daemon.stop() == 0
    assert numbers_rise(daemon.messages())


def test_a_later_observation_is_not_charged_with_what_was_before(daemon: Daemon) -> None:
    daemon.start()
    with Telescope(daemon) as telescope:
        for number in range(3):
            telescope.play(header=replace(HEADER, source_name=f"number {number}"))
        until(lambda: len(daemon.pulses()) >= 14)
        assert daemon.stop() == 0
    assert all(h.stage_seconds.get("publish", 0.0) < 5 for h in daemon.health())


def test_a_replay_goes_round(tmp_path: Path) -> None:
    write_filterbank(replace(SKY, nsamples=4096), tmp_path / "sky.fil")
    uri = f"replay:{tmp_path}/sky.fil?speed=8&loop=1"
    with ended(Daemon(tmp_path, inputs={"b0": uri})) as daemon:
        daemon.start()
        until(lambda: daemon.log.count("observation of the sky begins") >= 3)
        assert daemon.stop() == 0
    assert len(daemon.pulses()) >= 6
    # two seconds of sky each, not none
    assert daemon.log.count("observation of the sky begins") < 8


def test_a_folder_is_read_on_where_it_was_decided(tmp_path: Path) -> None:
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    uri = f"dir://{incoming}?settle=0.3"
    rounds = [n * NSAMPLES * HEADER.tsamp_s for n in range(4)]
    pulses = tuple(replace(p, time_s=p.time_s + s) for s in rounds for p in PULSES)
    sky = replace(SKY, nsamples=4 * NSAMPLES, pulses=pulses)
    whole = tmp_path / "whole.fil"
    write_filterbank(sky, whole)
    with ended(Daemon(tmp_path, inputs={"b0": uri})) as daemon:
        daemon.start()
        shutil.copy(whole, incoming / ".a.fil")
        (incoming / ".a.fil").rename(incoming / "a.fil")
        until(lambda: len(daemon.pulses()) >= 9)
        daemon.kill()
        daemon.start()
        until(lambda: len(daemon.pulses()) >= 19)
        time.sleep(1.0)
        assert daemon.stop() == 0
    found = sorted((m.time_s, m.dm) for m in daemon.pulses())
    assert len(found) == len({m.id for m in daemon.pulses()}) == 20
    for (time_s, dm), pulse in zip(found, pulses, strict=True):
        assert time_s == pytest.approx(pulse.time_s, abs=0.02)
        assert dm == pytest.approx(pulse.dm, abs=12)


def test_a_full_disk_holds_messages_back_until_there_is_room(daemon: Daemon) -> None:
    daemon.start()
    assert daemon.process is not None
    with Ear(daemon) as ear, Telescope(daemon) as telescope:
        ear.listen()
        telescope.play(replace(SKY, nsamples=2048))
        until(lambda: daemon.coverage())
        # no file may grow any more: for SQLite that is a full disk
        unlimited = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (1024, -1))
        telescope.play(replace(SKY, nsamples=6144), start=0, without=(0, 2048))
        until(lambda: "nothing is sent until it can be journalled" in daemon.log)
        until(lambda: "journal" in daemon.get("/healthz")[1]["streams"]["b0"]["failing"])
        count = len([m for m in ear.listen() if isinstance(m, DetectionMessage)])
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, unlimited)
        until(lambda: "the journal can be written again" in daemon.log)
        assert daemon.stop() == 0
        heard = [m for m in ear.listen() if isinstance(m, DetectionMessage)]
    assert count < len(heard) == len(daemon.pulses()) >= 4
    assert numbers_rise(daemon.messages())
    covered(daemon.coverage())


def test_a_port_for_messages_that_is_taken_is_refused(daemon: Daemon) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", daemon.ports["pub"]))
        taken.listen()
        daemon.launch()
        assert daemon.wait() == 4
    assert re.search(r"error: tcp://.*cannot be bound \(Address already in use\)", daemon.log)


def test_a_port_for_metrics_that_is_taken_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mlppa.web.RETRY_S", 0.0)
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        pages = Pages(f"127.0.0.1:{port}", {}, tmp_path)
        assert pages.port is None
        pages.keep_open()
    assert len(caplog.records) == 1
    assert "no metrics and no health here" in caplog.text
    pages.keep_open()
    assert pages.port == port
    assert "are here again" in caplog.text
    pages.close()


def test_pictures_are_given_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "b0-60000.5-dm30.00.png").write_bytes(b"a picture")
    (tmp_path / "b0.sqlite").write_bytes(b"a journal")
    (tmp_path.parent / "beside.png").write_bytes(b"not ours")
    with closing(Pages("127.0.0.1:0", {}, tmp_path)) as pages:
        assert pages.port is not None
        there = HTTPConnection("127.0.0.1", pages.port)
        there.request("GET", "/pictures/b0-60000.5-dm30.00.png")
        answer = there.getresponse()
        assert (answer.status, answer.read()) == (200, b"a picture")
        for other in ("b0.sqlite", "../beside.png", "%2e%2e/beside.png", "", "none.png"):
            there.request("GET", f"/pictures/{other}")
            answer = there.getresponse()
            assert (answer.status, answer.read()) == (404, b"there is no such picture\n"), other


def test_a_daemon_whose_metrics_port_is_taken_searches(daemon: Daemon) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", daemon.ports["http"]))
        taken.listen()
        daemon.start()
        with Telescope(daemon) as telescope:
            telescope.play()
            until(lambda: len(daemon.pulses()) >= 4)
        assert daemon.stop() == 0
    assert daemon.log.count("no metrics and no health here") == 1


def test_an_output_that_is_gone_does_not_end_it(tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    lines.mkdir()
    more = f'[publish]\nsinks = ["jsonl:{lines}/pulses.jsonl"]\n'
    with ended(Daemon(tmp_path, more)) as daemon:
        daemon.start()
        shutil.rmtree(lines)
        lines.write_text("a file where the folder was")
        with Telescope(daemon) as telescope:
            telescope.play()
            until(lambda: len(daemon.pulses()) >= 4)
        assert daemon.stop() == 0
    assert dms(daemon.pulses()) == EXPECTED


# Who may listen


@pytest.mark.parametrize("address", ["tcp://*:0", "tcp://0.0.0.0:0"])
def test_an_open_address_needs_keys(address: str, tmp_path: Path) -> None:
    port = free_port()
    more = f'[publish]\ndetections = "{address.replace(":0", f":{port}")}"\n'
    if address.startswith("tcp://0"):
        more = f'[publish]\ndetections = "tcp://0.0.0.0:{port}"\n'
    with ended(Daemon(tmp_path, more)) as daemon:
        daemon.launch()
        assert daemon.wait() == 4
    assert "can be reached from beyond this machine, by anybody" in daemon.log


def test_so_does_a_second_one(tmp_path: Path) -> None:
    more = f'[publish]\nsinks = ["tcp://0.0.0.0:{free_port()}"]\n'
    with ended(Daemon(tmp_path, more)) as daemon:
        daemon.launch()
        assert daemon.wait() == 4
    assert "can be reached from beyond this machine, by anybody" in daemon.log


def test_strangers_hear_nothing_and_friends_everything(tmp_path: Path) -> None:
    from mlppa.curve import Keys, make_keys
    from mlppa.listen import listen

    keys, clients = tmp_path / "keys", tmp_path / "clients"
    clients.mkdir()
    server, _ = make_keys(keys, "telescope")
    friend, secret = make_keys(keys, "friend")
    shutil.copy(friend, clients)
    make_keys(keys, "stranger")
    port = free_port()
    more = (
        f'[publish]\ndetections = "tcp://0.0.0.0:{port}"\nkey = "{keys}/telescope.key_secret"\n'
        f'clients = "{clients}"\n'
    )
    with ended(Daemon(tmp_path, more)) as daemon:
        daemon.start()
        address, past = f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{daemon.ports['replay']}"
        with Telescope(daemon) as telescope:
            telescope.play()
            until(lambda: len(daemon.pulses()) >= 4)
        # health goes on: there is something to hear
        known = Keys(secret, server)
        heard = listen(address, past, 1, keys=known)
        assert next(heard).seq == 1
        assert sum(isinstance(next(heard), DetectionMessage) for _ in range(12)) >= 4
        heard.close()
        with pytest.raises(EndpointError, match="no answer"):
            _ask(past, Keys(keys / "stranger.key_secret", server))
        with pytest.raises(EndpointError, match="no answer"):
            _ask(past, None)
        assert daemon.stop() == 0


def _ask(endpoint: str, keys: object) -> None:
    import zmq

    from mlppa import listen as ear
    from mlppa.wire import ReplayRequest

    with zmq.Context() as context:
        ear.request(context, endpoint, ReplayRequest(from_seq=1), keys)  # type: ignore[arg-type]


def test_secrets_are_kept(tmp_path: Path) -> None:
    from mlppa.curve import Keys, make_keys, present
    from mlppa.errors import EnvironmentFault

    public, secret = make_keys(tmp_path, "one")
    assert secret.stat().st_mode & 0o077 == 0
    with pytest.raises(EnvironmentFault, match="there already"):
        make_keys(tmp_path, "one")
    os.chmod(secret, 0o644)  # noqa: PTH101
    with pytest.raises(EnvironmentFault, match="others may read"):
        present(None, Keys(secret, public))  # type: ignore[arg-type]
    with pytest.raises(EnvironmentFault, match="holds no secret key"):
        present(None, Keys(public, public))  # type: ignore[arg-type]


def test_configurations_that_cannot_be(tmp_path: Path) -> None:
    from mlppa.config import DaemonConfig

    path = tmp_path / "c.toml"
    for text, said in {
        "": "there is no input",
        'input = ["a"]\n[streams.b]\ninput = ["b"]\n': "both input and streams",
        '[streams."a b"]\ninput = ["b"]\n': "a b",
        'input = ["a"]\n[watchdog]\nlate = 1.0\nrecovered = 1.5\n': "is not below 1",
        'input = ["a"]\n[inject]\nsnr = [9.0, 8.0]\n': "no range",
        'input = ["a"]\n[life]\nhttp = "nowhere"\n': "not HOST:PORT",
        'input = ["a"]\n[publish]\nkey = "k"\n': "one of key and clients",
        'input = ["a"]\n[header]\nnchans = 3\n': "header",
    }.items():
        path.write_text(f'output = "{tmp_path}"\n{text}')
        with pytest.raises(ConfigError, match=re.escape(said)):
            DaemonConfig.load(path)
