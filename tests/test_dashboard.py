"""The live page without a browser: what it knows, where it has it from, and whom it answers."""

import json
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from mlppa.dashboard import Followed, View, follow, watch
from mlppa.dashboard.followed import HISTORY, Folder, Heard
from mlppa.dashboard.site import Site
from mlppa.dashboard.view import PLOTS, STATES, VERDICTS
from mlppa.dashboard.watched import BINS, CONTACT_S, LOWEST, PAST_S
from mlppa.data import Coverage
from mlppa.errors import ConfigError
from mlppa.metrics import FATES
from mlppa.metrics import STATES as LIVE_STATES
from mlppa.sinks.journal import Journal
from mlppa.web import Web
from mlppa.wire import (
    CoverageMessage,
    DetectionMessage,
    HealthMessage,
    InjectionMessage,
    Message,
    coverage_message,
    encode,
)

from .calling import Call
from .daemon import Daemon, Telescope, ended, until
from .messages import BUDGET, HEADER, ORIGIN, cov_message, detection_message
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
    view = View(["here", "there"])
    for message in messages:
        view.take(source, message, heard_s)
    return view


def test_every_state_has_its_words() -> None:
    assert set(LIVE_STATES) < set(STATES)
    assert {*STATES, "nothing"} == set(VERDICTS)
    assert View([]).snapshot(NOW_S)["verdict"]["state"] == "nothing"


def test_the_worst_of_all_streams_is_told() -> None:
    view = View(["here"])
    for number, state in enumerate(("live", "late", "live")):
        told = health(state, stream=f"b{number}")
        view.take(0, told, NOW_S)
    now = view.snapshot(NOW_S)
    assert now["verdict"] == {"state": "late", "streams": ["b1"]}
    assert {name: one["state"] for name, one in now["streams"].items()} == {
        "b0": "live",
        "b1": "late",
        "b2": "live",
    }


def test_who_is_not_heard_of_any_more_is_no_contact() -> None:
    assert seen(health()).snapshot(NOW_S + CONTACT_S - 1)["verdict"]["state"] == "live"
    assert seen(health()).snapshot(NOW_S + CONTACT_S + 1)["verdict"]["state"] == "no contact"
    # but who said goodbye has gone
    assert seen(health("stopping")).snapshot(NOW_S + 60)["verdict"]["state"] == "ended"
    # and what never lived does not die
    assert seen(cov_message(0)).snapshot(NOW_S + 1e6)["verdict"]["state"] == "recorded"


def test_streams_of_the_same_name_are_told_apart() -> None:
    view = View(["one", "two"])
    for source in (0, 1):
        view.take(source, health(), NOW_S)
    view.take(1, health(stream="other"), NOW_S)
    names = list(view.snapshot(NOW_S)["streams"])
    assert names == ["askap (one)", "askap (two)", "other"]
    view.forget(0, "askap")
    assert list(view.snapshot(NOW_S)["streams"]) == ["askap", "other"]


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
    for n in range(5 * PAST_S):
        view.take(0, looked(5 * PAST_S - n), NOW_S)
    (one,) = view.streams.values()
    assert len(one.sky_s) <= 2 * PAST_S + 2
    sizes = {
        name: len(plot[next(iter(plot))]) for name, plot in view.snapshot(NOW_S)["plots"].items()
    }
    assert all(size <= 1500 for size in sizes.values()), sizes


def test_dt_is_told_against_its_budget_by_model() -> None:
    fast = looked(5).model_copy(update={"dt_s": 0.012, "model": "spine-64"})
    slow = looked(4).model_copy(update={"dt_s": 3.0, "model": "256_1"})
    idle = looked(3).model_copy(update={"candidates": 0, "dt_s": 1e-6})
    plots = seen(health(), fast, fast, slow, idle).snapshot(NOW_S)["plots"]
    assert plots["dt"]["ratio"] == [0.012, 0.012, 3.0]
    assert plots["dt"]["minutes"] == pytest.approx([-5 / 60, -5 / 60, -4 / 60], abs=1e-3)
    rows = zip(*(plots["histogram"][k] for k in ("left", "right", "share", "model")), strict=True)
    found = {model: (left, right, share) for left, right, share, model in rows}
    assert found["spine-64"][0] <= 0.012 < found["spine-64"][1]
    assert found["256_1"][0] <= 3.0 < found["256_1"][1]
    assert found["spine-64"][2] == found["256_1"][2] == 1.0


def test_dt_off_the_scale_is_in_its_last_bin() -> None:
    tiny = looked(5).model_copy(update={"dt_s": 1e-9})
    huge = looked(4).model_copy(update={"dt_s": 1e6})
    plot = seen(health(), tiny, huge).snapshot(NOW_S)["plots"]["histogram"]
    assert plot["left"][0] == pytest.approx(10.0**LOWEST)
    assert len(plot["left"]) == 2 <= BINS


def test_completeness_counts_what_was_put_in() -> None:
    def put(snr: float, reason: str | None) -> InjectionMessage:
        return INJECTION.model_copy(
            update={"stream": "askap", "snr": snr, "found": reason is None, "reason": reason}
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


def test_pulses_are_told_once_and_put_in_ones_do_not_count() -> None:
    real, put_in = detection_message(), detection_message(sample=20.0, injected=True)
    view = seen(real, real, put_in, detection_message(label="rfi"))
    view.remember(0, [real])
    now = view.snapshot(NOW_S)
    assert len(now["detections"]) == 2
    assert now["streams"]["askap"]["found"] == 1
    json.dumps(now, allow_nan=False)


def test_columns_are_those_that_are_drawn() -> None:
    from mlppa.dashboard.figures import figures

    drawn = figures()
    assert drawn.keys() == PLOTS.keys() == View([]).snapshot(NOW_S)["plots"].keys()
    for name, plot in seen(health(), looked(1)).snapshot(NOW_S)["plots"].items():
        assert tuple(plot) == PLOTS[name]
        assert len({len(column) for column in plot.values()}) == 1


def heard(source: Followed, count: int) -> list[Heard]:
    """Listen until so much has come."""
    items = source.heard()
    with closing(items):
        return [next(items) for _ in range(count)]


def test_a_journal_is_followed_as_it_grows(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    items = folder.heard()
    with Journal(tmp_path / "b0.sqlite", "askap", "run 1") as journal:
        journal.record([cov_message(0), detection_message()])
        assert len(next(items).past) == 1
        assert [type(next(items).message) for _ in range(2)] == [CoverageMessage, DetectionMessage]
        journal.record([cov_message(1)])
        message = next(items).message
        assert isinstance(message, CoverageMessage)
        assert message.start == 1000
    folder.close()
    assert list(items) == []


def test_another_journal_of_the_name_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "b0.sqlite"
    with Journal(path, "askap", "run 1") as journal:
        journal.record([cov_message(n) for n in range(5)])
    items = Folder(tmp_path).heard()
    assert [next(items).message is not None for _ in range(6)] == [False] + 5 * [True]
    path.rename(tmp_path / "gone")
    with Journal(path, "askap", "run 2") as journal:
        journal.record([cov_message(n) for n in range(7)])
        begun = next(items)
        assert (begun.stream, begun.message, begun.past) == ("askap", None, ())
        assert next(items).past == ()
        assert next(items).message is not None
    items.close()


def test_pulses_of_long_ago_are_shown_and_not_all_of_the_past(tmp_path: Path) -> None:
    with Journal(tmp_path / "b0.sqlite", "askap", "run 1") as journal:
        journal.record([detection_message()])
        journal.record(cov_message(n) for n in range(HISTORY + 50))
        items = heard(Folder(tmp_path), HISTORY + 1)
    assert [one.id for one in items[0].past] == [detection_message().id]
    messages = [item.message for item in items[1:]]
    assert isinstance(messages[0], CoverageMessage)
    assert messages[0].start == 50_000


def test_a_file_that_is_no_journal_is_told_and_the_others_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlppa.dashboard.followed.PATIENCE_S", 0.3)
    (tmp_path / "other.sqlite").write_text("something else")
    with Journal(tmp_path / "real.sqlite", "askap", "run 1") as journal:
        journal.record([cov_message(0)])
        for now in watch([Folder(tmp_path)], 0.1):
            if now["faults"]:
                break
    assert "other.sqlite: not a journal" in now["faults"][0]
    assert list(now["streams"]) == ["askap"]


def test_a_fault_that_is_over_is_told_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlppa.dashboard.followed.PATIENCE_S", 0.3)
    path = tmp_path / "b0.sqlite"
    path.write_text("something else")
    snapshots = watch([Folder(tmp_path)], 0.1)
    while not next(snapshots)["faults"]:
        pass
    path.unlink()
    with Journal(path, "askap", "run 1") as journal:
        journal.record([cov_message(0)])
        while next(snapshots)["faults"]:
            pass
    snapshots.close()


def test_a_message_of_a_newer_version_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Journal(tmp_path / "b0.sqlite", "askap", "run 1") as journal:
        journal.record([cov_message(n) for n in range(3)])
        newer = encode(cov_message(1)).replace(b"coverage/1", b"coverage/2")
        journal._database.execute("UPDATE message SET body = ? WHERE seq = 2", (newer,))
        items = heard(Folder(tmp_path), 3)
    assert [item.message.start for item in items[1:]] == [0, 2000]  # type: ignore[union-attr]
    assert "message 2 is left out" in caplog.text


def test_what_cannot_be_followed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not there"):
        follow(str(tmp_path / "none"))
    with pytest.raises(ConfigError):
        follow("ftp://somewhere")
    with pytest.raises(ConfigError, match="names no host"):
        follow("http://:9177")


def test_a_daemon_that_is_not_there_yet_is_told_and_waited_for(tmp_path: Path) -> None:
    with ended(Daemon(tmp_path)) as daemon:
        snapshots = watch([follow(f"http://127.0.0.1:{daemon.ports['http']}")], 0.1)
        while not (now := next(snapshots))["faults"]:
            pass
        assert "no daemon answers (Connection refused)" in now["faults"][0]
        daemon.start()
        while not (now := next(snapshots))["streams"]:
            pass
        assert now["faults"] == []
        snapshots.close()


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
            now: dict[str, Any] = {}
            for now in watch([one], 0.2):
                # over the wire the past comes with the first message that is heard
                if len(now["detections"]) >= 4:
                    break
            assert now["streams"]["b0"]["state"] in ("live", "silent"), who
            until(lambda one=one: one.picture(image) is not None)  # type: ignore[misc]
            content = one.picture(image)
            assert content is not None
            assert content.startswith(b"\x89PNG"), who
            assert one.picture("none.png") is None
            assert one.picture("../daemon.toml") is None
        assert daemon.stop() == 0


class Still:
    """A source of nothing, with a picture."""

    label = "still"

    def heard(self) -> Iterator[Heard]:
        yield from ()

    def picture(self, name: str) -> bytes | None:
        return b"\x89PNG" if name == "here.png" else None

    def close(self) -> None:
        pass


@pytest.fixture
def site() -> Iterator[HTTPConnection]:
    made = Site([Still()], "127.0.0.1:0")  # type: ignore[list-item]
    made.show({"now_s": 1.0})
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
    assert get(site, "/now.json")[:2] == (200, b'{"now_s": 1.0}')
    for path in ("/page.py", "/../site.py", "/%2e%2e/site.py", "/page/index.html"):
        assert get(site, path)[0] == 404, path


def test_pictures_that_are_not_there_are_no_error(site: HTTPConnection) -> None:
    assert get(site, "/pictures/0/here.png")[:2] == (200, b"\x89PNG")
    for path in ("0/none.png", "7/here.png", "-1/here.png", "x/here.png", "here.png", ""):
        assert get(site, f"/pictures/{path}")[:2] == (204, b""), path


def test_a_page_of_this_machine_answers_to_no_other_name(site: HTTPConnection) -> None:
    assert get(site, "/now.json", [("Host", "evil.example:80")])[0] == 403
    assert get(site, "/now.json", [("Host", "localhost:8977")])[0] == 200


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


def test_the_screen_shows_the_essentials(tmp_path: Path) -> None:
    import asyncio

    from textual.widgets import DataTable, Static

    from mlppa.dashboard.terminal import Terminal

    hostile = detection_message().model_copy(update={"source_name": "[red]x[/red]"})
    put = INJECTION.model_copy(update={"stream": "askap", "found": True, "reason": None})
    batch = cov_message(1).model_copy(update={"candidates": 2})

    async def look() -> None:
        screen = Terminal([Folder(tmp_path)])
        async with screen.run_test(size=(120, 40)) as pilot:
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
            assert "dmt-64" in str(screen.query_one("#dt", Static).render())
            assert "1/1" in str(screen.query_one("#sense", Static).render())
            await pilot.press("d")
            await pilot.press("q")

    with Journal(tmp_path / "b0.sqlite", "askap", "run 1") as journal:
        journal.record([health(), batch, hostile, put])
        asyncio.run(look())
