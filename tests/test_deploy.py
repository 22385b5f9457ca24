"""What a site installs on a machine: units of systemd, and configurations of real set-ups."""

import json
import re
import shutil
from pathlib import Path

import pytest

from mlppa.errors import ConfigError, InputError

from .calling import Call
from .deployed import BIN, DEPLOY, LIFE, accepted, ran

# Configurations of four real set-ups.


@pytest.mark.parametrize("name", ["effelsberg-7beam", "meerkat-beams", "grex"])
def test_a_set_up_is_planned_and_its_needs_are_those_of_the_plan(name: str, call: Call) -> None:
    path = DEPLOY / "examples" / f"{name}.toml"
    printed = call("check", path)
    assert (printed.code, printed.err) == (0, "")
    assert "octave 0: " in printed.out
    plan = json.loads(call("check", path, "--json").out)["plan"]
    told = re.search(
        r"^# mlppa check: memory_bytes (\d+), latency_s ([\d.]+) ", path.read_text(), 8
    )
    assert told is not None
    assert int(told[1]) == pytest.approx(plan["memory_bytes"], rel=0.01)
    assert float(told[2]) == pytest.approx(plan["latency_s"], rel=0.01)


@pytest.mark.parametrize(
    ("name", "band_mhz", "nchans", "tsamp_us", "beams"),
    [
        ("effelsberg-7beam", (1210, 1510), 512, 54.61, 7),
        ("meerkat-beams", (856, 1712), 1024, 306.24, 12),
        ("grex", (1280, 1530), 2048, 65.536, 1),
    ],
)
def test_a_set_up_is_that_of_its_telescope(
    name: str, band_mhz: tuple[float, float], nchans: int, tsamp_us: float, beams: int
) -> None:
    config = accepted((DEPLOY / "examples" / f"{name}.toml").read_text())
    header = config.known_header
    assert header is not None
    # frequencies are those of channel centres
    edge = abs(header.foff_mhz) / 2
    band = (header.f_lo_mhz - edge, header.f_hi_mhz + edge)
    assert band == pytest.approx(band_mhz, abs=1e-3)
    assert (header.nchans, len(config.inputs)) == (nchans, beams)
    assert header.tsamp_s * 1e6 == pytest.approx(tsamp_us, abs=0.005)
    ports = [re.search(r":(\d+)\?", uri) for uris in config.inputs.values() for uri in uris]
    assert len({port[1] for port in ports if port}) == sum(port is not None for port in ports)


# systemd.

UNITS = ("mlppa@.service", "mlppa-dashboard.service")

#: What systemd-analyze security gave, 1.7 and 1.6 with systemd 252, and a little more.
EXPOSED = 2.0

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def installed(name: str, folder: Path, text: str | None = None) -> Path:
    """Write a unit whose program is there: /opt/mlppa/bin/mlppa is not, on a machine of tests."""
    if text is None:
        text = (DEPLOY / "systemd" / name).read_text()
    assert text.count("/opt/mlppa/bin/mlppa ") == 1
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name.replace("@.", "@beam0.")
    path.write_text(text.replace("/opt/mlppa/bin/mlppa ", "/bin/true "))
    return path


def complaints(unit: Path) -> list[str]:
    """What systemd says about a unit; of others it says things, too."""
    done = ran("systemd-analyze", "verify", unit)
    return [
        line for line in done.stderr.splitlines() if unit.stem in line or unit.parent.name in line
    ]


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_has_nothing_to_say_about_a_unit(name: str, tmp_path: Path) -> None:
    assert complaints(installed(name, tmp_path / "units")) == []


@needs_systemd
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("ProtectSystem=", "ProtectSytem="),
        ("ProtectHome=yes", "ProtectHome=perhaps"),
        ("SystemCallFilter=@system-service", "SystemCallFilter=@system-servce"),
        ("/bin/true ", "/opt/nobody/has/this "),
    ],
)
def test_a_unit_with_an_error_is_told(right: str, wrong: str, tmp_path: Path) -> None:
    unit = installed("mlppa@.service", tmp_path / "units")
    text = unit.read_text()
    assert right in text
    unit.write_text(text.replace(right, wrong, 1))
    assert complaints(unit)


@needs_systemd
def test_what_a_site_may_add_is_right(tmp_path: Path) -> None:
    unit = installed("mlppa@.service", tmp_path / "units")
    added = re.sub(r"^#(?=[A-Z]\w+=)", "", (DEPLOY / "systemd" / "site.conf").read_text(), flags=8)
    options = re.findall(r"^[A-Z]\w+=", added, re.MULTILINE)
    assert len(options) > 10
    # a drop-in of a unit that is given by its path is not read: it stands in the unit here
    text = unit.read_text()
    unit.write_text(text.replace("[Install]", added + "\n[Install]"))
    assert complaints(unit) == []
    unit.write_text(text.replace("[Install]", added.replace("CPUAff", "CPUaff") + "\n[Install]"))
    assert complaints(unit)


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_a_unit_exposes_little(name: str, tmp_path: Path) -> None:
    unit = installed(name, tmp_path)
    done = ran("systemd-analyze", "security", "--offline=true", unit)
    level = re.search(r"Overall exposure level for .*: ([\d.]+)", done.stdout)
    assert level is not None, done.stderr
    assert float(level[1]) <= EXPOSED


def options_of(name: str) -> dict[str, str]:
    """The options of a unit; of one that stands there twice, the last."""
    text = (DEPLOY / "systemd" / name).read_text()
    return dict(re.findall(r"^([A-Z]\w+)=(.*)$", text, re.MULTILINE))


def test_the_unit_is_that_of_the_daemon() -> None:
    unit = options_of("mlppa@.service")
    assert unit["ExecStart"].split()[1:] == ["run", "/etc/mlppa/%i.toml"]
    assert int(unit["TimeoutStopSec"]) > LIFE.stop_s + 10
    codes = {str(error.exit_code) for error in (ConfigError, InputError)}
    assert set(unit["RestartPreventExitStatus"].split()) == codes
    # Debian 12 has systemd 252, and notify-reload came with 253
    assert (unit["Type"], unit["ExecReload"]) == ("notify", "/bin/sh -c 'kill -HUP $MAINPID'")
    assert (unit["PrivateIPC"], unit["RemoveIPC"], unit["MemoryDenyWriteExecute"]) == ("no",) * 3
    assert "DynamicUser" not in unit


@pytest.mark.parametrize(
    "name",
    [*(f"systemd/{unit}" for unit in UNITS), "container/Containerfile", "container/mlppa.def"],
)
def test_nothing_reports_to_anybody(name: str) -> None:
    assert "ORT_DISABLE_TELEMETRY=1" in (DEPLOY / name).read_text()


# Scripts.


@pytest.mark.parametrize(
    "path", [*(DEPLOY / "slurm").glob("*.sbatch"), *DEPLOY.glob("*.sh")], ids=lambda path: path.name
)
def test_a_script_is_without_a_flaw(path: Path) -> None:
    shellcheck = BIN / "shellcheck"
    if not shellcheck.exists():
        pytest.skip("shellcheck is not installed: make setup")
    done = ran(shellcheck, path)
    assert (done.stdout, done.returncode) == ("", 0)


@pytest.mark.parametrize("section", ["post", "runscript", "test"])
def test_a_script_of_the_image_is_without_a_flaw(section: str, tmp_path: Path) -> None:
    text = (DEPLOY / "container" / "mlppa.def").read_text()
    (script,) = re.findall(rf"^%{section}\n((?:    .*\n|\n)+)", text, re.MULTILINE)
    path = tmp_path / "script.sh"
    path.write_text(f"#!/bin/sh\n{script}")
    shellcheck = BIN / "shellcheck"
    if not shellcheck.exists():
        pytest.skip("shellcheck is not installed: make setup")
    # a name in braces is apptainer's, and constant for the shell
    done = ran(shellcheck, "--exclude=SC2050,SC2194", path)
    assert (done.stdout, done.returncode) == ("", 0)
