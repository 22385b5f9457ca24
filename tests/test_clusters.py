"""Jobs of Slurm are run as it would, manifests of Kubernetes held against its schemas."""

import os
import re
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from mlppa.simulate import write_filterbank

from .deployed import BIN, DEPLOY, accepted, ran
from .skies import SKY

# Slurm.

SLURM = DEPLOY / "slurm"


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    """What Slurm tells the first task of an array, and where mlppa is."""
    (tmp_path / "scratch").mkdir()
    return os.environ | {
        "SLURM_ARRAY_TASK_ID": "1",
        "SLURM_JOB_ID": "7",
        "SLURM_CPUS_PER_TASK": "2",
        "SLURM_TMPDIR": str(tmp_path / "scratch"),
        "MLPPA": str(BIN / "mlppa"),
    }


@pytest.fixture
def survey(tmp_path: Path) -> list[str]:
    """Words of the job: a list of one file, and where its results go."""
    write_filterbank(SKY, tmp_path / "sky.fil")
    (tmp_path / "files.txt").write_text(f"{tmp_path / 'sky.fil'}\n")
    return [str(tmp_path / "files.txt"), str(tmp_path / "found")]


def job(words: Sequence[str], cluster: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return ran("bash", SLURM / "search.sbatch", *words, env=cluster)


def test_a_job_searches_its_file_once(
    survey: list[str], cluster: dict[str, str], tmp_path: Path
) -> None:
    done = job([*survey, "--dm-max", "500", "--no-images"], cluster)
    assert (done.returncode, done.stderr) == (0, "")
    found = tmp_path / "found" / "sky.fil"
    assert (found / "detections.jsonl").read_text()
    assert [*(tmp_path / "scratch").iterdir()] == []
    assert [path.name for path in (tmp_path / "found").iterdir()] == ["sky.fil"]
    again = job(survey, cluster)
    assert again.returncode == 0
    assert "was searched before" in again.stdout
    missing = job(survey, cluster | {"SLURM_ARRAY_TASK_ID": "2"})
    assert missing.returncode == 2


def test_a_job_that_fails_says_so_and_is_not_done(
    survey: list[str], cluster: dict[str, str], tmp_path: Path
) -> None:
    done = job([*survey, "--dm-max", "0"], cluster)
    assert done.returncode == 2
    assert not (tmp_path / "found" / "sky.fil" / "done").exists()
    assert [*(tmp_path / "scratch").iterdir()] == []


def test_a_job_keeps_what_it_has_when_its_time_is_over(
    survey: list[str], cluster: dict[str, str], tmp_path: Path
) -> None:
    # a search that needs a moment to end, as the real one does
    slow = tmp_path / "slow"
    slow.write_text(
        "#!/bin/sh\n"
        'mkdir -p "$4" && echo half >"$4/detections.jsonl"\n'
        "trap 'sleep 1; echo whole >>\"$4/detections.jsonl\"; exit 143' TERM\n"
        f"touch {tmp_path}/begun\n"
        "while :; do sleep 0.1; done\n"
    )
    slow.chmod(0o755)
    words = ["bash", str(SLURM / "search.sbatch"), *survey]
    with subprocess.Popen(words, env=cluster | {"MLPPA": str(slow)}) as running:
        stop = time.monotonic() + 20
        while not (tmp_path / "begun").exists():
            assert time.monotonic() < stop
            time.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 143
    found = tmp_path / "found" / "sky.fil"
    assert (found / "detections.jsonl").read_text() == "half\nwhole\n"
    assert not (found / "done").exists()


# Kubernetes.

KUBERNETES = DEPLOY / "kubernetes"
BASE = sorted(path for path in (KUBERNETES / "base").glob("*.yaml"))


def documents() -> list[dict[str, Any]]:
    """Give all objects, without those that are kustomize's own."""
    read = [one for path in BASE for one in yaml.safe_load_all(path.read_text())]
    return [one for one in read if one["kind"] != "Kustomization"]


def the(kind: str) -> dict[str, Any]:
    (one,) = (document for document in documents() if document["kind"] == kind)
    return one


def daemon_container() -> dict[str, Any]:
    (one,) = the("StatefulSet")["spec"]["template"]["spec"]["containers"]
    assert isinstance(one, dict)
    return one


@pytest.mark.parametrize(
    "document", documents(), ids=lambda d: f"{d['kind']}-{d['metadata']['name']}"
)
def test_a_manifest_fits_its_schema(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, "1.30", strict=True)
    broken = document | {"spce": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.30", strict=True)


def test_every_group_has_a_configuration_that_the_daemon_takes() -> None:
    files, stateful = the("ConfigMap")["data"], the("StatefulSet")
    name, replicas = stateful["metadata"]["name"], stateful["spec"]["replicas"]
    assert set(files) == {f"{name}-{n}.toml" for n in range(replicas)}
    container = daemon_container()
    assert container["args"] == ["run", "/etc/mlppa/$(POD_NAME).toml"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    streams: list[str] = []
    for text in files.values():
        config = accepted(text)
        streams += config.inputs
        assert str(config.publish.detections).endswith(f":{ports['detections']}")
        assert str(config.publish.replay).endswith(f":{ports['replay']}")
        assert config.life.http == f"0.0.0.0:{ports['metrics']}"
        assert str(config.output) in mounts
        udp = {port["containerPort"] for port in container["ports"] if port.get("protocol")}
        heard = [re.search(r":(\d+)\?", uri) for uris in config.inputs.values() for uri in uris]
        assert {int(port[1]) for port in heard if port} == udp
        grace_s = stateful["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        assert grace_s > config.life.stop_s + 10
    assert len(streams) == len(set(streams))


def test_probes_ask_for_pages_that_are_there() -> None:
    container = daemon_container()
    paths = [
        container[f"{kind}Probe"]["httpGet"]["path"]
        for kind in ("startup", "liveness", "readiness")
    ]
    assert paths == ["/healthz", "/healthz", "/healthz"]
    service = {
        port["targetPort"]
        for one in documents()
        if one["kind"] == "Service"
        for port in one["spec"]["ports"]
    }
    assert service <= {port["name"] for port in container["ports"]}


def test_keys_come_to_where_the_daemon_takes_them(tmp_path: Path) -> None:
    """A secret's files can be read by a group; the daemon refuses such keys."""
    (init,) = the("StatefulSet")["spec"]["template"]["spec"]["initContainers"]
    (script,) = init["args"]
    secret, keys = tmp_path / "secret", tmp_path / "keys"
    secret.mkdir()
    for name in ("telescope.key_secret", "control-room.key"):
        (secret / name).write_text(name)
        (secret / name).chmod(0o440)
    script = script.replace("/run/mlppa/keys", str(keys)).replace("/secret", str(secret))
    assert ran(*init["command"], script).returncode == 0
    config = accepted(the("ConfigMap")["data"]["beams-0.toml"])
    assert config.publish.key is not None
    key = keys / config.publish.key.name
    assert not key.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    assert config.publish.clients is not None
    assert [one.name for one in (keys / config.publish.clients.name).iterdir()] == [
        "control-room.key"
    ]


@pytest.mark.parametrize("overlay", ["base", "gpu"])
def test_kustomize_makes_manifests_that_fit(overlay: str) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    done = ran(kubectl, "kustomize", KUBERNETES / overlay)
    assert done.returncode == 0, done.stderr
    made = list(yaml.safe_load_all(done.stdout))
    for document in made:
        kubernetes_validate.validate(document, "1.30", strict=True)
    (stateful,) = (one for one in made if one["kind"] == "StatefulSet")
    (container,) = stateful["spec"]["template"]["spec"]["containers"]
    assert container["image"].endswith(f"-{'cpu' if overlay == 'base' else 'gpu'}")
    assert container["resources"]["limits"].get("nvidia.com/gpu") == (
        1 if overlay == "gpu" else None
    )
