"""What is shipped for who watches: rules, alerts and dashboards, against a daemon that runs."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from deploy.grafana import dashboards
from deploy.grafana.panels import make
from mlppa import metrics
from mlppa.dashboard.view import MARKS
from mlppa.simulate import Pulse

from .daemon import Daemon, ended, free_port, until
from .skies import HEADER, SKY
from .test_docs import DOCS, OPERATIONS, first_cells, names, section
from .watching import SHIPPED, Observing, Watch, program

ALERTS = (
    *("MlppaDown", "MlppaBehindRealTime", "MlppaInputSilent", "MlppaShedding", "MlppaGaps"),
    "MlppaNoSky",
    *("MlppaCandidateStorm", "MlppaNoCandidates", "MlppaInjectionsMissed", "MlppaPublishBacklog"),
    *("MlppaSinkFailing", "MlppaModelOnCpu", "MlppaDiskLow"),
)

#: Within so long a fault of the input or of the pace is to be heard.
HEARD_S = 15.0

#: What samples of a metric are called, by its type.
ENDINGS = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_count", "_sum"),
    "info": ("_info",),
    "summary": ("_count", "_sum"),
}


def rules(name: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((SHIPPED / "rules" / f"{name}.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels(name: str) -> Iterator[dict[str, Any]]:
    for panel in json.loads((dashboards.FOLDER / f"{name}.json").read_text())["panels"]:
        if panel["type"] != "row":
            yield panel


def every_panel() -> Iterator[dict[str, Any]]:
    return chain.from_iterable(map(panels, dashboards.DASHBOARDS))


# Without a program


def exported() -> dict[str, set[str]]:
    """Give the labels of all series, by their names."""
    found = {}
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            (family,) = metric.describe()
            for ending in ENDINGS[family.type]:
                le = {"le"} if ending == "_bucket" else set()
                found[family.name + ending] = {*metric._labelnames} | le
    return found


def texts() -> Iterator[str]:
    """Give all that asks for series."""
    for rule in rules("recording") + rules("alerts"):
        yield from (rule["expr"], *rule.get("annotations", {}).values())
    for panel in every_panel():
        yield from (target["expr"] for target in panel["targets"])
    for name in dashboards.DASHBOARDS:
        board = json.loads((dashboards.FOLDER / f"{name}.json").read_text())
        yield from (variable["query"] for variable in board["templating"]["list"])


def test_what_is_asked_for_is_exported() -> None:
    known, recorded = exported(), {rule["record"] for rule in rules("recording")}
    asked = 0
    for text in texts():
        labels_here = {"job", "instance"}
        for name, chosen in re.findall(r"((?:\w+:)?mlppa_[\w:]+)(?:\{([^}]*)\})?", text):
            asked += 1
            assert name in (recorded if ":" in name else known), text
            labels = known.get(name, {"stream", "model", "batch"}) | {"job", "instance"}
            assert {*re.findall(r"(\w+)(?:=~|!~|!=|=)", chosen)} <= labels, text
            labels_here |= labels
        for named in re.findall(r"\b(?:by|without|on|ignoring) ?\(([^)]*)\)", text):
            assert {label.strip() for label in named.split(",")} <= labels_here, text
    assert asked > 100


def test_alerts_are_those_that_are_told_of() -> None:
    assert tuple(rule["alert"] for rule in rules("alerts")) == ALERTS
    table = section(OPERATIONS, "## Alerts")
    assert tuple(names(first_cells(table))) == ALERTS
    severities = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| (\w+) \|", table, re.MULTILINE))
    assert severities == {rule["alert"]: rule["labels"]["severity"] for rule in rules("alerts")}
    watched = set(re.findall(r"`(Mlppa\w+)`", section(OPERATIONS, "## Metrics")))
    # whether it answers is no series of its own
    assert watched == set(ALERTS) - {"MlppaDown"}


@pytest.mark.parametrize("rule", rules("alerts"), ids=ALERTS)
def test_an_alert_says_what_it_means_and_where_help_is(rule: dict[str, Any]) -> None:
    said = rule["annotations"]
    assert said["summary"]
    assert said["description"]
    page, _, anchor = said["runbook_url"].partition("#")
    assert page.endswith("/tutorials/oncall.html")
    assert anchor == rule["alert"].lower()
    assert any(f"alertname: {rule['alert']}" in f.read_text() for f in SHIPPED.glob("tests/*.yml"))


def test_the_page_warns_where_the_alert_fires() -> None:
    (missed,) = (one for one in rules("alerts") if one["alert"] == "MlppaInjectionsMissed")
    assert missed["expr"] == f"mlppa_recovered_ratio < {MARKS['recovered']['warn']}"


def test_the_runbook_knows_every_alert() -> None:
    runbook = (DOCS / "tutorials" / "oncall.md").read_text()
    assert set(re.findall(r"^### (Mlppa\w+)", runbook, re.MULTILINE)) == set(ALERTS)


@pytest.mark.parametrize("name", dashboards.DASHBOARDS)
def test_dashboards_are_what_the_code_makes(name: str) -> None:
    written = (dashboards.FOLDER / f"{name}.json").read_text()
    remedy = "run: python -m deploy.grafana.dashboards"
    assert written == make(name, dashboards.DASHBOARDS[name]), remedy


def test_every_axis_has_a_unit_and_every_metric_a_plot() -> None:
    told = " ".join(target["expr"] for panel in every_panel() for target in panel["targets"])
    for panel in every_panel():
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
    missing = [n for n in exported() if n not in told and not n.endswith(("_count", "_sum"))]
    assert missing == []


# With the programs of Prometheus


def check(*command: str, given: str | None = None) -> str:
    run = subprocess.run(
        [program(command[0]), *command[1:]],
        cwd=SHIPPED,
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


def test_configurations_are_valid() -> None:
    assert "SUCCESS" in check("promtool", "check", "config", "--lint-fatal", "prometheus.yml")
    files = [str(path) for path in SHIPPED.glob("rules/*.yml")]
    assert "SUCCESS" in check("promtool", "check", "rules", "--lint-fatal", *files)
    assert "SUCCESS" in check("amtool", "check-config", "alertmanager.yml")


@pytest.mark.parametrize("tests", sorted(SHIPPED.glob("tests/*.yml")), ids=lambda path: path.stem)
def test_alerts_fire_when_they_should(tests: Path) -> None:
    assert "FAILED" not in check("promtool", "test", "rules", str(tests))


# With all of it: two beams at the pace of the sky, found pulses and synthetic ones

#: As the daemon has them by default: they are part of what is measured.
MORE = """
[watchdog]
queue_s = 10.0
[life]
silent_s = 5.0
[inject]
per_hour = 1800
snr = [8.0, 30.0]
dm = [60.0, 400.0]
width_ms = [2, 8]
"""

BRIGHT = tuple(Pulse(time_s=0.25 + 0.5 * n, dm=200.0, width_ms=3.0, snr=20.0) for n in range(15))


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    folder = tmp_path_factory.mktemp("watched")
    inputs = {name: f"spead://127.0.0.1:{free_port()}" for name in ("b0", "b1")}
    environ = {"MLPPA_TEST_SLOW_FILE": str(folder / "slow")}
    daemon = Daemon(folder, MORE, tuple(inputs), environ, inputs)
    with ended(daemon), Watch(tmp_path_factory.mktemp("watch"), daemon).running() as one:
        daemon.start()
        yield one


@pytest.fixture(scope="module")
def beams(watch: Watch) -> Iterator[dict[str, Observing]]:
    sky = replace(SKY, header=replace(HEADER, tsamp_s=256e-6), nsamples=32000, pulses=BRIGHT)
    with (
        closing(Observing(watch.daemon, "b0", sky)) as first,
        closing(Observing(watch.daemon, "b1", sky)) as second,
    ):
        both = {"b0": first, "b1": second}
        for one in both.values():
            one.on()
        until(lambda: {watch.daemon.state(name) for name in both} == {"live"})
        yield both


def tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_faults_are_heard_within_fifteen_seconds(watch: Watch, beams: dict[str, Observing]) -> None:
    until(lambda: len(watch.query('mlppa_stream_state{state="live"} == 1')) == 2)
    # how full the disk of the tests is, is no matter of theirs
    assert watch.firing() <= {"MlppaDiskLow"}
    faults = {"MlppaInputSilent": "b1", "MlppaBehindRealTime": "b0"}
    beams["b1"].off()
    (watch.daemon.folder / "slow").write_text("1.5")
    fault_s = time.monotonic()
    for alert, stream in faults.items():
        heard_s = watch.told(alert, "firing", stream, fault_s) - fault_s
        tell(f"{alert} was heard after {heard_s:.1f} s")
        assert 0 < heard_s < HEARD_S
    (watch.daemon.folder / "slow").unlink()
    beams["b1"].on()
    mended_s = time.monotonic()
    for alert, stream in faults.items():
        heard_s = watch.told(alert, "resolved", stream, mended_s) - mended_s
        tell(f"{alert} was resolved after {heard_s:.1f} s")


@pytest.mark.slow
def test_the_page_of_the_metrics_is_well_formed(watch: Watch, beams: dict[str, Observing]) -> None:
    status, page = watch.daemon.get("/metrics")
    assert status == 200
    assert check("promtool", "check", "metrics", given=page) == ""


#: Synthetic pulses are not of every S/N: some of its bars are missing.
SOME = {"Completeness: part that was found, by S/N"}


@pytest.mark.slow
def test_every_plot_shows_something(watch: Watch, beams: dict[str, Observing]) -> None:
    chosen = {"$__rate_interval": "30s", "$__range": "5m", "$instance": ".*", "$stream": ".*"}

    def empty() -> list[str]:
        found = []
        for panel in every_panel():
            shown = []
            for target in panel["targets"]:
                expression = target["expr"]
                for variable, value in chosen.items():
                    expression = expression.replace(variable, value)
                values = [one["value"][1] for one in watch.query(expression)]
                shown.append(any(value != "NaN" for value in values))
            if not (any(shown) if panel["title"] in SOME else all(shown)):
                found.append(panel["title"])
        return found

    stop_s = time.monotonic() + 30
    while empty() and time.monotonic() < stop_s:
        time.sleep(1)
    assert empty() == []


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_daemon_that_is_gone_is_heard_of(watch: Watch, beams: dict[str, Observing]) -> None:
    watch.daemon.kill()
    fault_s = time.monotonic()
    heard_s = watch.told("MlppaDown", "firing", since_s=fault_s)
    tell(f"MlppaDown was heard after {heard_s - fault_s:.1f} s")
    watch.daemon.start()
    mended_s = time.monotonic()
    told = [n for n in watch.notices if heard_s <= n.at_s <= mended_s and n.status == "firing"]
    assert {n.alert for n in told} == {"MlppaDown"}, "what is old is not told again"
    heard_s = watch.told("MlppaDown", "resolved", since_s=mended_s) - mended_s
    tell(f"MlppaDown was resolved after {heard_s:.1f} s")
