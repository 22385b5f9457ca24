"""The live page without a browser: what it knows, where it has it from, and whom it answers."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from mlppa.dashboard import View, follow, watch
from mlppa.dashboard.folder import Folder
from mlppa.dashboard.heard import HISTORY, Anew, Heard, Said
from mlppa.dashboard.site import Site
from mlppa.dashboard.view import PLOTS, STATES, STREAMS
from mlppa.dashboard.watched import BINS, CONTACT_S, FORGET_S, HIGHEST, LOWEST, PAST_S
from mlppa.data import Coverage
from mlppa.errors import ConfigError, EndpointError
from mlppa.metrics import FATES
from mlppa.metrics import STATES as LIVE_STATES
from mlppa.simulate import write_filterbank
from mlppa.sinks.journal import Journal
from mlppa.web import Web
from mlppa.wire import (
    CoverageMessage,
    DetectionMessage,
    HealthMessage,
    InjectionMessage,
    Message,
    coverage_message,
)

from .calling import Call
from .daemon import Daemon, Telescope, ended, until
from .messages import BUDGET, HEADER, ORIGIN, cov_message, detection_message
from .skies import SKY
from .test_wire import HEALTH, INJECTION

NOW_S = 1_800_000_000.0


def stamp(at_s: float) -> str:
    milliseconds = round(at_s * 1000) % 1000
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_s)) + f".{milliseconds:03d}Z"


def looked(ago_s: float, seconds: float = 1.0, **parts: float) -> CoverageMessage:
    """Coverage that ended so long ago; ``parts`` are the shares of what was not searched."""
    samples = round(seconds / HEADER.tsamp_s)
    rest = {fate: round(share * samples) for fate, share in parts.items()}
    coverage = Coverage(
        start=0,
        stop=samples,
        searched=samples - sum(rest.values()),
        masked=rest.get("masked", 0),
        missing=rest.get("missing", 0),
        shed=rest.get("shed", 0),
        candidates=3,
        decided_to=0,
    )
    made = coverage_message(coverage, BUDGET, ORIGIN, detections=0, created=stamp(NOW_S - ago_s))
    return made.model_copy(update={"budget_s": seconds})


def health(state: str = "live", **changes: Any) -> HealthMessage:
    return HEALTH.model_copy(update={"stream": "askap", "state": state} | changes)


def seen(*messages: Message, heard_s: float = NOW_S, source: int = 0) -> View:
    view = View(["here"], NOW_S)
    for message in messages:
        view.take(source, message, heard_s)
    return view


def test_every_state_has_its_words() -> None:
    assert set(LIVE_STATES) < set(STATES)
    assert {face.level for face in STATES.values()} == {"bad", "good", "none"}
    assert View([], NOW_S).snapshot(NOW_S)["verdict"] == "nothing"


def test_the_worst_of_all_streams_is_told() -> None:
    view = View(["here"], NOW_S)
    for number, state in enumerate(("live", "late", "live")):
        told = health(state, stream=f"b{number}")
        view.take(0, told, NOW_S)
    now = view.snapshot(NOW_S)
    assert now["verdict"] == "late"
    assert {name: one["state"] for name, one in now["streams"].items()} == {
        "b0": "live",
        "b1": "late",
        "b2": "live",
    }


def verdict(view: View, later_s: float) -> str:
    return str(view.snapshot(NOW_S + later_s)["verdict"])


def test_who_is_not_heard_of_any_more_is_no_contact() -> None:
    assert verdict(seen(health()), CONTACT_S - 1) == "live"
    assert verdict(seen(health()), CONTACT_S + 1) == "no contact"
    # one who speaks seldom is waited for longer
    assert verdict(seen(health(every_s=60.0)), 140) == "live"
    assert verdict(seen(health(every_s=60.0)), 160) == "no contact"
    # but who said goodbye has gone
    assert verdict(seen(health("stopping")), 60) == "ended"
    # and what never lived does not die
    assert verdict(seen(cov_message(0)), 1e6) == "recorded"


def test_who_has_ended_hides_nobody_and_is_forgotten() -> None:
    view = seen(health("stopping"))
    view.take(0, health(stream="other"), NOW_S + FORGET_S)
    assert verdict(view, FORGET_S) == "live"
    assert "askap" in view.snapshot(NOW_S + FORGET_S)["streams"]
    assert "askap" not in view.snapshot(NOW_S + FORGET_S + 1)["streams"]


def test_a_source_that_was_never_heard_of_is_not_forgotten() -> None:
    view = View(["tcp://a:1", "tcp://b:1"], NOW_S)
    view.take(0, health(), NOW_S)
    assert verdict(view, 5) == "waiting"
    assert verdict(view, 15) == "no contact"
    assert view.snapshot(NOW_S + 15)["streams"]["tcp://b:1"]["state"] == "no contact"
    view.take(1, health(stream="b"), NOW_S + 15)
    assert list(view.snapshot(NOW_S + 15)["streams"]) == ["askap", "b"]


def test_streams_without_end_are_not_kept() -> None:
    view = View(["here"], NOW_S)
    for number in range(STREAMS + 5):
        view.take(0, health(stream=f"b{number}"), NOW_S)
    assert len(view.streams) == STREAMS
    assert f"more than {STREAMS} streams" in view.snapshot(NOW_S)["faults"][0]


def test_what_is_chosen_has_all_to_itself() -> None:
    view = View(["here"], NOW_S)
    for name, model, found in (("a", "spine-64", 30), ("b", "32_2", 2)):
        view.take(0, health(stream=name), NOW_S)
        batch = looked(5).model_copy(update={"stream": name, "model": model})
        view.take(0, batch, NOW_S)
        for number in range(found):
            pulse = detection_message(sample=1000.0 * number)
            view.take(0, pulse.model_copy(update={"stream": name}), NOW_S)
    every, one = view.snapshot(NOW_S), view.snapshot(NOW_S, "b")
    assert (every["chosen"], one["chosen"]) == (None, "b")
    assert set(every["plots"]["histogram"]["model"]) == {"spine-64", "32_2"}
    assert set(one["plots"]["histogram"]["model"]) == {"32_2"}
    assert [m["stream"] for m in one["detections"]] == ["b", "b"]
    assert list(one["streams"]) == ["a", "b"]
    assert view.snapshot(NOW_S, "nobody") == every


def test_data_that_are_no_sky_are_not_called_well() -> None:
    off = [looked(n, masked=1.0) for n in reversed(range(40))]
    assert verdict(seen(health(), *off[:8]), 0) == "live"
    assert verdict(seen(health(), *off), 0) == "no sky"
    back = [looked(n - 40.0) for n in reversed(range(40))]
    assert verdict(seen(health(), *off, *back), 0) == "live"
    # a third of interference is a bad day, and a hole is told by its own state
    bad = [looked(n, masked=0.3, missing=0.4) for n in reversed(range(120))]
    assert verdict(seen(health(), *bad), 0) == "live"


def test_what_fails_is_told_at_the_top() -> None:
    now = seen(health(failing=["journal", "zmq"])).snapshot(NOW_S)
    assert now["faults"] == ["askap: journal, zmq fails"]


def test_who_is_heard_over_the_wire_is_live_before_it_says_so() -> None:
    view = View(["tcp://a:1"], NOW_S)
    view.take(0, looked(0), NOW_S, wired=True)
    assert verdict(view, 1) == "live"
    assert verdict(view, CONTACT_S + 1) == "no contact"


def test_pulses_of_the_sky_are_not_pushed_out_by_those_put_in() -> None:
    view = seen(detection_message(sample=1.0))
    for n in range(100):
        view.take(0, detection_message(sample=10.0 * n, injected=True), NOW_S)
    shown = view.snapshot(NOW_S)["detections"]
    assert [m["injected"] for m in shown].count(False) == 1
    assert len(shown) == 12


def test_streams_and_folders_of_the_same_name_are_all_there(tmp_path: Path) -> None:
    view = View(["found", "found", "found"], NOW_S)
    for source in range(3):
        view.take(source, health(), NOW_S)
    assert list(view.snapshot(NOW_S)["streams"]) == [
        *("askap (found)", "askap (found) 2", "askap (found) 3")
    ]
    for name in ("a", "b"):
        (tmp_path / name / "found").mkdir(parents=True)
    labels = {follow(str(tmp_path / name / "found")).label for name in ("a", "b")}
    assert len(labels) == 2


def test_streams_of_the_same_name_are_told_apart() -> None:
    view = View(["one", "two"], NOW_S)
    for source in (0, 1):
        view.take(source, health(), NOW_S)
    view.take(1, health(stream="other"), NOW_S)
    names = list(view.snapshot(NOW_S)["streams"])
    assert names == ["askap (one)", "askap (two)", "other"]
    view.forget(0, "askap")
    # who is left without a stream stands for itself
    assert list(view.snapshot(NOW_S)["streams"]) == ["askap", "other", "one"]


def shares(now: dict[str, Any], stream: str = "askap") -> dict[str, float]:
    """Seconds of sky in the plot, by fate."""
    plot = now["plots"]["coverage"]
    sums = dict.fromkeys(FATES, 0.0)
    for n, fate in enumerate(plot["fate"]):
        if plot["stream"][n] == stream:
            sums[fate] += plot["share"][n] * (plot["right"][n] - plot["left"][n]) * 60
    return sums


@pytest.mark.parametrize("seconds", [0.3, 1.0, 4.0])
def test_all_sky_is_in_the_plot(seconds: float) -> None:
    count = round(240 / seconds)
    batches = [
        looked(seconds * n, seconds, masked=0.02, missing=0.2) for n in reversed(range(count))
    ]
    now = seen(health(), *batches).snapshot(NOW_S)
    expected = {"searched": 187.2, "masked": 4.8, "missing": 48.0, "shed": 0.0}
    assert shares(now) == pytest.approx(expected, abs=0.7)
    assert now["streams"]["askap"]["sky_s"] == pytest.approx(expected, abs=0.1)
    plot = now["plots"]["coverage"]
    assert min(plot["left"]) >= -PAST_S / 60 - 0.1
    assert all(
        left < right <= 0.02 for left, right in zip(plot["left"], plot["right"], strict=True)
    )


def test_silence_is_a_hole_in_a_live_stream_and_not_in_a_recorded_one() -> None:
    batches = [looked(n) for n in (100, 99, 98, 20, 19, 18)]
    live = seen(health(), *batches).snapshot(NOW_S)["plots"]["coverage"]
    recorded = seen(*batches).snapshot(NOW_S)["plots"]["coverage"]
    assert max(live["right"]) - min(live["left"]) == pytest.approx(85 / 60, abs=0.1)
    assert sorted(live["share"])[0] < 1
    assert min(recorded["left"]) >= -10 / 60


def test_a_stream_that_runs_for_days_does_not_grow() -> None:
    view = seen(health())
    for hour in range(72):
        at_s = NOW_S + 3600.0 * hour
        for n in range(0, 3600, 30):
            batch = looked(-3600.0 * hour - n, 30.0, missing=0.5 if hour < 71 else 0.0)
            view.take(0, batch.model_copy(update={"model": f"m{hour}"}), at_s + n)
            view.take(0, detection_message().model_copy(update={"created": batch.created}), at_s)
    (one,) = view.streams.values()
    assert len(one.sky_s) <= 2 * PAST_S + 31
    assert len(one.counted) <= 62
    now = view.snapshot(at_s + 3600)
    for name, plot in now["plots"].items():
        assert all(len(column) <= 1500 for column in plot.values()), name
    # what is counted is of the last hour: what was bad yesterday hides nothing of today
    assert now["streams"]["askap"]["sky_s"]["missing"] == 0
    assert now["streams"]["askap"]["found"] == 120
    assert set(now["plots"]["histogram"]["model"]) <= {"m70", "m71"}


def test_a_clock_that_is_set_back_leaves_no_hole() -> None:
    view = seen(health(), *(looked(n) for n in range(-4000, -3000)))
    batches = [looked(n) for n in reversed(range(1300))]
    for batch in batches:
        view.take(0, batch, NOW_S)
    assert shares(view.snapshot(NOW_S))["searched"] == pytest.approx(PAST_S, rel=0.02)


def test_dt_is_told_against_its_budget_by_model() -> None:
    fast = looked(5).model_copy(update={"dt_s": 0.012, "model": "spine-64"})
    slow = looked(4).model_copy(update={"dt_s": 3.0, "model": "256_1"})
    idle = looked(3).model_copy(update={"candidates": 0, "dt_s": 1e-6})
    plots = seen(health(), fast, fast, slow, idle).snapshot(NOW_S)["plots"]
    assert plots["dt"]["ratio"] == plots["dt"]["drawn"] == [0.012, 0.012, 3.0]
    assert plots["dt"]["minutes"] == pytest.approx([-5 / 60, -5 / 60, -4 / 60], abs=1e-3)
    rows = zip(*(plots["histogram"][k] for k in ("left", "right", "share", "model")), strict=True)
    found = {model: (left, right, share) for left, right, share, model in rows}
    assert found["spine-64"][0] <= 0.012 < found["spine-64"][1]
    assert found["256_1"][0] <= 3.0 < found["256_1"][1]
    assert found["spine-64"][2] == found["256_1"][2] == 1.0


def test_dt_off_the_scale_is_in_its_last_bin() -> None:
    tiny = looked(5).model_copy(update={"dt_s": 1e-9})
    huge = looked(4).model_copy(update={"dt_s": 1e6})
    plots = seen(health(), tiny, huge).snapshot(NOW_S)["plots"]
    assert plots["histogram"]["left"] == pytest.approx([10.0**LOWEST, 10 ** (HIGHEST - 0.2)])
    assert len(plots["histogram"]["left"]) == 2 <= BINS
    # what is off the axis is drawn at its end: the worst must not be out of sight
    assert plots["dt"]["drawn"] == [10.0**LOWEST, 10.0**HIGHEST]


def test_completeness_counts_what_was_put_in() -> None:
    def put(snr: float, reason: str | None) -> InjectionMessage:
        return INJECTION.model_copy(
            update={
                "stream": "askap",
                "snr": snr,
                "found": reason is None,
                "reason": reason,
                "created": stamp(NOW_S),
            }
        )

    view = seen(health(), *(put(12.0, None) for _ in range(9)), put(14.9, "rejected"))
    view.take(0, put(12.0, "not searched"), NOW_S)
    plot = view.snapshot(NOW_S)["plots"]["completeness"]
    assert (plot["found"], plot["of"], plot["percent"]) == ([9], [10], [90.0])
    # Wilson's interval for 9 of 10
    assert plot["low"] + plot["high"] == pytest.approx([59.6, 98.2], abs=0.1)
    assert 10 < plot["snr"][0] < 15


def test_stages_are_told_against_real_time() -> None:
    told = health(stage_seconds={"search": 0.2, "wait": 0.7, "read": 0.6}, budget_s=0.5)
    plot = seen(told).snapshot(NOW_S)["plots"]["stages"]
    assert plot == {"stage": ["search"], "share": [pytest.approx(0.4)]}


def test_pulses_that_were_put_in_do_not_count() -> None:
    real, put_in = detection_message(), detection_message(sample=20.0, injected=True)
    now = seen(real, put_in, detection_message(label="rfi")).snapshot(NOW_S)
    assert len(now["detections"]) == 2
    assert now["streams"]["askap"]["found"] == 1
    json.dumps(now, allow_nan=False)


def test_columns_are_those_that_are_drawn() -> None:
    from mlppa.dashboard.figures import figures

    drawn = figures()
    assert drawn.keys() == PLOTS.keys() == View([], NOW_S).snapshot(NOW_S)["plots"].keys()
    for name, plot in seen(health(), looked(1)).snapshot(NOW_S)["plots"].items():
        assert tuple(plot) == PLOTS[name]
        assert len({len(column) for column in plot.values()}) == 1


def told(items: Iterator[Heard | None]) -> Heard:
    """Give the next that is told."""
    return next(item for item in items if item is not None)


def said(items: Iterator[Heard | None]) -> Message:
    """Give the message that is told next."""
    item = told(items)
    assert isinstance(item, Said)
    return item.message


def awaited(views: Iterator[View], true: Callable[[View], object]) -> View:
    """Wait until a view is so."""
    began_s = time.monotonic()
    for view in views:
        if true(view):
            return view
        assert time.monotonic() - began_s < 20, "waited in vain"
    pytest.fail("no more views")


def test_a_journal_is_followed_as_it_grows(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    items = folder.heard()
    with Journal(tmp_path / "b0.sqlite", "askap", "run 1") as journal:
        journal.record([cov_message(0), detection_message()])
        kinds = [type(said(items)) for _ in range(2)]
        assert kinds == [CoverageMessage, DetectionMessage]
        assert next(items) is None
        journal.record([cov_message(1)])
        message = said(items)
        assert isinstance(message, CoverageMessage)
        assert message.start == 1000
    folder.close()
    assert [item for item in items if item is not None] == []


def test_another_journal_of_the_name_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "b0.sqlite"
    with Journal(path, "askap", "run 1") as journal:
        journal.record([cov_message(n) for n in range(5)])
    items = Folder(tmp_path).heard()
    assert [said(items).seq for _ in range(5)] == [1, 2, 3, 4, 5]
    path.rename(tmp_path / "gone")
    with Journal(path, "askap", "run 2") as journal:
        journal.record([cov_message(n) for n in range(7)])
        assert told(items) == Anew("askap")
        assert [said(items).seq for _ in range(7)] == [1, 2, 3, 4, 5, 6, 7]
    items.close()


def test_a_journal_that_is_taken_away_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "b0.sqlite"
    with Journal(path, "askap", "run 1") as journal:
        journal.record([cov_message(0)])
    views = watch([Folder(tmp_path)], 0.1)
    awaited(views, lambda view: view.streams)
    path.unlink()
    gone = awaited(views, lambda view: not view.streams)
    assert gone.snapshot(NOW_S)["faults"] == []
    tmp_path.rename(tmp_path.with_name("elsewhere"))
    now = awaited(views, lambda view: view.faults).snapshot(NOW_S)
    assert now["faults"] == [f"{tmp_path}: there is no such folder"]
    views.close()


def test_of_a_search_the_latest_run_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    for run in ("run 1", "run 2"):
        with Journal(path, "askap", run) as journal:
            journal.record([detection_message(), *(cov_message(n) for n in range(4))])
    items = Folder(tmp_path).heard()
    assert [said(items).seq for _ in range(5)] == [6, 7, 8, 9, 10]
    # a run that begins meanwhile takes its place
    with Journal(path, "askap", "run 3") as journal:
        journal.record([cov_message(0)])
        assert told(items) == Anew("askap")
        message = said(items)
        assert message.seq == 11
    items.close()


def test_pulses_of_long_ago_are_shown_and_not_all_of_the_past(tmp_path: Path) -> None:
    pulses = [detection_message(sample=1000.0 * n) for n in range(70)]
    with Journal(tmp_path / "b0.sqlite", "askap", "run 1") as journal:
        journal.record([health(), *pulses[:40]])
        journal.record(cov_message(n) for n in range(HISTORY - 20))
        journal.record(pulses[40:])
    views = watch([Folder(tmp_path)], 0.1)
    for view in views:
        if any(len(one.pulses) >= 50 for one in view.streams.values()):
            break
    (one,) = view.streams.values()
    # 50 are remembered: those that lie before what is read, and those in it, each once
    assert [m.id for m in one.pulses] == [m.id for m in pulses[20:]]
    views.close()


def test_a_file_that_is_no_journal_is_told_and_the_others_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlppa.dashboard.folder.PATIENCE_S", 0.3)
    (tmp_path / "other.sqlite").write_text("something else")
    with Journal(tmp_path / "real.sqlite", "askap", "run 1") as journal:
        journal.record([cov_message(0)])
        for view in watch([Folder(tmp_path)], 0.1):
            now = view.snapshot(NOW_S)
            if now["faults"]:
                break
    assert "other.sqlite: not a journal" in now["faults"][0]
    assert list(now["streams"]) == ["askap"]


def test_a_fault_that_is_over_is_told_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlppa.dashboard.folder.PATIENCE_S", 0.3)
    path = tmp_path / "b0.sqlite"
    path.write_text("something else")
    views = watch([Folder(tmp_path)], 0.1)
    (fault,) = awaited(views, lambda view: view.faults).faults.values()
    assert "b0.sqlite: not a journal" in fault
    path.unlink()
    with Journal(path, "askap", "run 1") as journal:
        journal.record([cov_message(0)])
        well = awaited(views, lambda view: not view.faults and view.streams)
    assert list(well.snapshot(NOW_S)["streams"]) == ["askap"]
    views.close()


def test_messages_of_a_newer_version_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Journal(tmp_path / "b0.sqlite", "askap", "run 1") as journal:
        journal.record([health(), detection_message(), *(cov_message(n) for n in range(3))])
        for seq, kind in ((2, b"detection/"), (4, b"coverage/")):
            ((_, body),) = journal.since(seq, 1)
            newer = body.replace(kind + b"1", kind + b"2")
            journal._database.execute("UPDATE message SET body = ? WHERE seq = ?", (newer, seq))
        items = Folder(tmp_path).heard()
        assert [said(items).seq for _ in range(3)] == [1, 3, 5]
        items.close()
    assert "message 2 is left out" in caplog.text
    assert "message 4 is left out" in caplog.text
    assert "pulses of before are left out" in caplog.text


def test_what_cannot_be_followed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not there"):
        follow(str(tmp_path / "none"))
    with pytest.raises(ConfigError):
        follow("ftp://somewhere")
    with pytest.raises(ConfigError, match="names no host"):
        follow("http://:9177")


def test_a_daemon_that_is_not_there_yet_is_told_and_waited_for(tmp_path: Path) -> None:
    with ended(Daemon(tmp_path)) as daemon:
        broken = tmp_path / "broken.toml"
        broken.write_text("half of a line")
        followed = [follow(f"http://127.0.0.1:{daemon.ports['http']}"), follow(str(broken))]
        views = watch(followed, 0.1)
        faults = awaited(views, lambda view: len(view.faults) > 1).faults
        first, second = sorted(faults.values())
        assert "broken.toml" in first
        assert "no daemon answers (Connection refused)" in second
        daemon.start()
        broken.write_text(daemon.config.read_text())
        assert awaited(views, lambda view: len(view.streams) > 1).faults == {}
        for one in followed:
            one.close()
        views.close()


def test_a_daemon_is_followed_by_its_address_its_folder_and_its_configuration(
    tmp_path: Path,
) -> None:
    with ended(Daemon(tmp_path, "[publish]\nimages = true\n")) as daemon:
        daemon.start()
        with Telescope(daemon) as telescope:
            telescope.play()
            until(lambda: len(daemon.pulses()) >= 4)
        image = daemon.pulses()[0].image
        assert image is not None
        url = f"http://127.0.0.1:{daemon.ports['http']}"
        for who in (url, str(daemon.config), str(tmp_path / "out")):
            one = follow(who)
            # over the wire the past comes with the first message that is heard
            for view in watch([one], 0.2):
                now = view.snapshot(time.time())
                if len(now["detections"]) >= 4:
                    break
            assert now["streams"]["b0"]["state"] in ("live", "silent"), who
            until(lambda one=one: one.picture(image) is not None)  # type: ignore[misc]
            content = one.picture(image)
            assert content is not None
            assert content.startswith(b"\x89PNG"), who
            assert one.picture("none.png") is None
            assert one.picture("../daemon.toml") is None
            one.close()
        assert daemon.stop() == 0


class Still:
    """A source of nothing, with a picture."""

    label = "still"

    def heard(self) -> Generator[Heard | None]:
        yield None

    def picture(self, name: str) -> bytes | None:
        return b"\x89PNG" if name == "here.png" else None

    def close(self) -> None:
        pass


@pytest.fixture
def site() -> Iterator[HTTPConnection]:
    made = Site([Still()], "127.0.0.1:0")
    made.show(View(["still"], 1.0), 1.0)
    with closing(Web("127.0.0.1:0", made)) as web:
        web.keep_open()
        assert web.port is not None
        yield HTTPConnection("127.0.0.1", web.port)


def get(
    site: HTTPConnection, path: str, headers: Sequence[tuple[str, str]] = ()
) -> tuple[int, bytes, dict[str, str]]:
    site.request("GET", path, headers=dict(headers))
    answer = site.getresponse()
    return answer.status, answer.read(), dict(answer.getheaders())


def test_the_site_gives_its_pages_and_nothing_else(site: HTTPConnection) -> None:
    for path in ("/", "/page.css", "/page.js", "/bokeh.js", "/figures.json", "/icon.svg"):
        status, body, headers = get(site, path)
        assert (status, bool(body)) == (200, True), path
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "http://" not in headers["Content-Security-Policy"]
    status, body, _ = get(site, "/now.json")
    assert (status, json.loads(body)["now_s"]) == (200, 1.0)
    for path in ("/page.py", "/../site.py", "/%2e%2e/site.py", "/page/index.html"):
        assert get(site, path)[0] == 404, path


def test_pictures_that_are_not_there_are_no_error(site: HTTPConnection) -> None:
    assert get(site, "/pictures/0/here.png")[:2] == (200, b"\x89PNG")
    for path in ("0/none.png", "7/here.png", "-1/here.png", "x/here.png", "here.png", ""):
        assert get(site, f"/pictures/{path}")[:2] == (204, b""), path


def test_nothing_can_be_changed(site: HTTPConnection) -> None:
    for method in ("POST", "PUT", "DELETE"):
        site.request(method, "/now.json")
        answer = site.getresponse()
        assert (answer.status, answer.read()) == (405, b"")


def test_a_page_of_this_machine_answers_to_no_other_name(site: HTTPConnection) -> None:
    for name in ("evil.example:80", "evil.example", "127.0.0.1.evil.example:80", "10.0.0.1"):
        assert get(site, "/now.json", [("Host", name)])[0] == 403, name
    for name in ("localhost:8977", "127.0.0.2:80", "[::1]:8977", "LOCALHOST"):
        assert get(site, "/now.json", [("Host", name)])[0] == 200, name


def test_what_is_chosen_is_asked_for(site: HTTPConnection) -> None:
    view = View(["still"], NOW_S)
    for name in ("a", "b"):
        view.take(0, health(stream=name), NOW_S)
    made = Site([Still()], "127.0.0.1:0")
    made.show(view, NOW_S)
    assert json.loads(made._snapshot("stream=a"))["chosen"] is None
    made.show(view, NOW_S)
    assert json.loads(made._snapshot("stream=a"))["chosen"] == "a"
    assert json.loads(made._snapshot(""))["chosen"] is None
    # whoever asks for everything gets no more of it
    for n in range(100):
        made._snapshot(f"stream={n}")
    made.show(view, NOW_S)
    assert len(made._now) <= 17


@pytest.mark.parametrize("bind", ["8977", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:99999"])
def test_a_bind_that_is_none_is_refused(call: Call, tmp_path: Path, bind: str) -> None:
    done = call("dashboard", tmp_path, "--bind", bind)
    assert done.code == 2
    assert "is not HOST:PORT" in done.error


def test_a_port_that_is_taken_is_refused(call: Call, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = call("dashboard", tmp_path, "--bind", f"127.0.0.1:{taken.getsockname()[1]}")
    assert done.code == 4
    assert "cannot be bound (Address already in use)" in done.error


def test_a_page_by_the_newer_protocol(tmp_path: Path) -> None:
    if not socket.has_ipv6:
        pytest.skip("there is no IPv6")
    made = Site([Still()], "[::1]:0")
    with closing(Web("[::1]:0", made)) as web:
        web.keep_open()
        if web.port is None:
            pytest.skip(f"no IPv6 here: {web.fault}")
        assert web.url == f"http://[::1]:{web.port}"
        assert get(HTTPConnection("::1", web.port), "/icon.svg")[0] == 200


def test_one_replay_address_is_of_one_publisher(call: Call, tmp_path: Path) -> None:
    ends = ["tcp://127.0.0.1:1", "tcp://127.0.0.1:2"]
    for who in ([*ends], [tmp_path]):
        done = call("dashboard", *who, "--replay", "tcp://127.0.0.1:3")
        assert done.code == 2
        assert "--replay: is for one tcp:// address" in done.error


def test_a_player_that_is_left_behind_ends(tmp_path: Path) -> None:
    """Neither a kill of the page nor a terminal that is closed leaves its daemon running."""
    recording = tmp_path / "what? a name.fil"
    write_filterbank(SKY, recording)
    words = ["dashboard", "--play", str(recording), "--bind", "127.0.0.1:0"]
    program = [sys.executable, "-c", "from mlppa.cli import main; main()", *words]
    there = os.environ | {"TMPDIR": str(tmp_path)}
    for number in (signal.SIGKILL, signal.SIGHUP):
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=there) as page:
            assert page.stdout is not None
            page.stdout.readline()
            (log,) = tmp_path.glob("mlppa-play-*/daemon.log")
            until(lambda log=log: "ready" in log.read_text())  # type: ignore[misc]
            children = Path(f"/proc/{page.pid}/task/{page.pid}/children").read_text().split()
            (daemon,) = children
            page.send_signal(number)
        until(lambda daemon=daemon: not Path(f"/proc/{daemon}").exists())  # type: ignore[misc]
        if number == signal.SIGKILL:
            shutil.rmtree(log.parent)
    assert page.returncode == 128 + signal.SIGHUP
    assert not list(tmp_path.glob("mlppa-play-*"))


def test_a_recording_that_cannot_be_played_is_refused(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "a.fil"
    path.write_bytes(b"no filterbank")
    done = call("dashboard", "--play", path, "--bind", "127.0.0.1:0")
    assert done.code == 3
    assert str(path) in done.error


def test_a_screen_needs_a_terminal(call: Call) -> None:
    done = call("listen", "--tui")
    assert done.code == 2
    assert "no terminal" in done.error
    done = call("listen", "--tui", "--json")
    assert done.code == 2
    assert "does not go with --json" in done.error


def test_what_ends_a_screen_is_kept(tmp_path: Path) -> None:
    import asyncio

    from mlppa.dashboard.terminal import Terminal

    class Broken(Still):
        def heard(self) -> Generator[Heard | None]:
            yield None
            raise EndpointError("tcp://a:1", "is none", "give another")

    async def look() -> Exception | None:
        screen = Terminal([Broken()])
        async with screen.run_test() as pilot:
            for _ in range(100):
                await pilot.pause(0.05)
                if screen.error is not None:
                    break
        return screen.error

    assert isinstance(asyncio.run(look()), EndpointError)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_the_screen_shows_the_essentials(tmp_path: Path, size: tuple[int, int]) -> None:
    import asyncio

    from textual.widgets import DataTable, Static

    from mlppa.dashboard.terminal import Terminal

    fresh = {"stream": "askap", "created": stamp(time.time() - 60)}
    hostile = detection_message().model_copy(update=fresh | {"source_name": "[red]x[/red]"})
    put = INJECTION.model_copy(update=fresh | {"found": True, "reason": None})
    batch = cov_message(1).model_copy(update=fresh | {"candidates": 2})

    async def look() -> None:
        screen = Terminal([Folder(tmp_path)])
        async with screen.run_test(size=size) as pilot:
            table = screen.query_one("#pulses", DataTable)
            verdict = screen.query_one("#verdict", Static)
            for _ in range(200):
                await pilot.pause(0.05)
                if "NO CONTACT" in str(verdict.render()):
                    break
            assert [str(cell) for cell in table.get_row_at(0)][1:] == [
                *("askap", "362.42", "23.5", "4.00", "0.999", "[red]x[/red]")
            ]
            streams = screen.query_one("#streams", DataTable)
            assert [str(cell) for cell in streams.get_row_at(0)][:2] == ["askap", "no contact"]
            dt, sense = (screen.query_one(name, Static) for name in ("#dt", "#sense"))
            assert "dmt-64" in str(dt.render())
            assert "1/1" in str(sense.render())
            lines = str(dt.render()).splitlines()
            assert max(map(len, lines)) <= dt.size.width, "bars of one model stand in one line"
            assert (dt.size.height, sense.size.height) == (len(lines), 2), "nothing is cut"
            await pilot.press("d")
            await pilot.press("q")

    with Journal(tmp_path / "b0.sqlite", "askap", "run 1") as journal:
        journal.record([health(), batch, hostile, put])
        asyncio.run(look())
