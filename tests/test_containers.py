"""Images and compose: nothing that is not locked, and services that find each other."""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .calling import Call
from .deployed import BIN, DEPLOY, PORT, ROOT, accepted, ran

LOCK = (ROOT / "requirements.lock").read_text()

# Containers.

CONTAINER = DEPLOY / "container"


def test_the_containerfile_is_without_a_flaw() -> None:
    hadolint = BIN / "hadolint"
    if not hadolint.exists():
        pytest.skip("hadolint is not installed: make setup")
    done = ran(hadolint, "--format", "json", CONTAINER / "Containerfile")
    assert (json.loads(done.stdout), done.returncode) == ([], 0)


def steps(text: str) -> str:
    return re.sub(r"\\\n\s*", "", text)


@pytest.mark.parametrize("name", ["container/Containerfile", "container/mlppa.def", "install.sh"])
def test_nothing_is_installed_that_is_not_locked(name: str) -> None:
    text = steps((DEPLOY / name).read_text())
    installs = re.findall(r"^.*\b(?:pip install|uv\"? build) .*$", text, re.MULTILINE)
    assert len(installs) >= 4
    for line in installs:
        for part in re.findall(r"(?:pip install|uv\"? build) [^&;]*", line):
            ours = "--no-deps" in part and re.search(r"/wheel/\*\.whl$", part.strip())
            assert "--require-hashes" in part or ours, part
    assert "-c requirements.lock -r pyproject.toml" in text


def test_the_lock_of_cuda_adds_and_repeats_nothing() -> None:
    names = re.findall(r"^([a-z0-9-]+)==", (CONTAINER / "cuda.lock").read_text(), re.MULTILINE)
    assert all(name.startswith("nvidia-") for name in names)
    assert len(names) >= 10
    assert not set(names) & set(re.findall(r"^([a-z0-9-]+)==", LOCK, re.MULTILINE))


def test_what_an_image_is_made_of_is_not_ignored() -> None:
    text = (CONTAINER / "Containerfile").read_text()
    copied = [
        word
        for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)
        for word in line.split()[:-1]
    ]
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {f"!{word}" for word in copied} == {line for line in ignored if line.startswith("!")}
    assert "*" in ignored
    assert all((ROOT / word).exists() for word in copied)
    files = re.search(r"^%files\n((?:    .*\n)+)", (CONTAINER / "mlppa.def").read_text(), 8)
    assert files is not None
    assert {line.split()[0] for line in files[1].splitlines()} == set(copied)


def test_the_image_asks_its_own_health() -> None:
    text = steps((CONTAINER / "Containerfile").read_text())
    (command,) = re.findall(r"^HEALTHCHECK .*CMD (\[.*\])$", text, re.MULTILINE)
    *_, program = json.loads(command)
    assert f"http://127.0.0.1:{PORT}/healthz" in program
    # nobody answers here
    done = ran(sys.executable, "-c", program.replace(str(PORT), "9"))
    assert done.returncode == 1


# Compose.

COMPOSE = DEPLOY / "compose"


def services() -> dict[str, dict[str, Any]]:
    read: dict[str, dict[str, Any]] = yaml.safe_load((COMPOSE / "compose.yml").read_text())
    return read["services"]


def mounted() -> Iterator[tuple[str, Path]]:
    """Give what services mount of the checkout."""
    for name, service in services().items():
        for volume in service.get("volumes", []):
            if volume.startswith("."):
                yield name, COMPOSE / volume.split(":")[0]


@pytest.mark.parametrize(("service", "path"), list(mounted()), ids=lambda x: getattr(x, "name", x))
def test_what_is_mounted_is_there(service: str, path: Path) -> None:
    assert path.exists(), service


def test_services_reach_each_other_and_nobody_else_them() -> None:
    config = accepted((COMPOSE / "mlppa.toml").read_text())
    ours = services()["mlppa"]
    told = (config.publish.detections, config.publish.replay, config.life.http)
    ports = {str(address).rpartition(":")[2] for address in told}
    assert {port.split(":")[1] for port in ours["ports"]} == ports
    assert all("0.0.0.0" in str(address) for address in told)
    assert f"http://mlppa:{str(told[2]).rpartition(':')[2]}" in services()["dashboard"]["command"]
    for name, service in services().items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert re.search(r":(v?\d+\.\d+\.\d+|cpu)$", service["image"]), name
        named = [v.split(":")[0] for v in service.get("volumes", []) if not v.startswith(".")]
        volumes = yaml.safe_load((COMPOSE / "compose.yml").read_text())["volumes"]
        assert set(named) <= set(volumes), name
    assert int(ours["stop_grace_period"].removesuffix("s")) > config.life.stop_s + 10


def test_the_sky_of_compose_is_one(call: Call, tmp_path: Path) -> None:
    words = services()["sky"]["command"]
    assert words[:2] == ["simulate", "sky.fil"]
    short = [
        str(tmp_path / "sky.fil") if w == "sky.fil" else "5" if w == "60" else w for w in words
    ]
    assert call(*short, "--dm", 20, 200).code == 0
    (uri,) = accepted((COMPOSE / "mlppa.toml").read_text()).input
    assert uri == "replay:/sky/sky.fil?loop=1"


def test_prometheus_of_compose_finds_the_services() -> None:
    named = re.findall(r"targets/\w+\.yml", (DEPLOY / "prometheus/prometheus.yml").read_text())
    found = {name: yaml.safe_load((COMPOSE / name).read_text())[0]["targets"] for name in named}
    assert found == {
        "targets/daemons.yml": [f"mlppa:{PORT}"],
        "targets/alertmanagers.yml": ["alertmanager:9093"],
    }
    for targets in found.values():
        host, port = targets[0].split(":")
        assert f"127.0.0.1:{port}:{port}" in services()[host]["ports"]


def test_grafana_of_compose_is_the_same_but_for_its_source() -> None:
    ours = (COMPOSE / "datasource.yml").read_text()
    assert ours.count("http://prometheus:9090") == 1
    shipped = (DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text()
    for one, other in zip(ours.splitlines(), shipped.splitlines(), strict=True):
        assert one == other or "url:" in one
    provider = (DEPLOY / "grafana/provisioning/dashboards/mlppa.yml").read_text()
    (path,) = re.findall(r"path: (\S+)", provider)
    assert any(f":{path}:ro" in volume for volume in services()["grafana"]["volumes"])


@pytest.mark.parametrize("files", [["compose.yml"], ["compose.yml", "gpu.yml"]])
def test_docker_understands_compose(files: list[str]) -> None:
    docker = shutil.which("docker")
    if docker is None or ran(docker, "compose", "version").returncode:
        pytest.skip("docker compose is not installed")
    chosen = [word for file in files for word in ("-f", str(COMPOSE / file))]
    done = ran(docker, "compose", *chosen, "config", "--quiet")
    assert (done.stderr, done.returncode) == ("", 0)
