"""What the doctor finds on machines that are made up, and on this one."""

import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from mlppa.doctor import CHECKS, Finding, Host, Needs, examine, exit_code, read_needs
from mlppa.doctor.clock import clock
from mlppa.doctor.folder import output_folder
from mlppa.doctor.host import read_clock_status, run_program
from mlppa.doctor.machine import governor, gpu, limits, memory, processors, swap, vectors
from mlppa.doctor.network import addresses, receive_buffers
from mlppa.doctor.software import kernel_cache, packages, python, satisfies
from mlppa.simulate import write_filterbank

from .calling import Call
from .skies import SKY

MLPPA = Path(sys.executable).with_name("mlppa")

MEMINFO = """\
MemTotal:       16303236 kB
MemFree:          303236 kB
MemAvailable:    8388608 kB
SwapTotal:       2097152 kB
SwapFree:        2097152 kB
"""
LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units
Max open files            1024                 1048576              files
Max locked memory         8388608              unlimited            bytes
"""
SOUND = {
    "/proc/self/status": "Name:\tmlppa\nCpus_allowed_list:\t0-3,8\n",
    "/proc/self/cgroup": "0::/system.slice/mlppa.service\n",
    "/proc/self/limits": LIMITS,
    "/proc/self/mountinfo": "22 1 8:1 / / rw shared:1 master:2 - ext4 /dev/sda1 rw\n",
    "/proc/meminfo": MEMINFO,
    "/proc/cpuinfo": "processor: 0\nmodel name: Fast\nflags: fpu avx avx2 avx512bw\n",
    "/proc/sys/net/core/rmem_max": "67108864\n",
    "/proc/sys/net/core/rmem_default": "212992\n",
    "/proc/sys/net/core/netdev_max_backlog": "30000\n",
    "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
    "/sys/devices/system/cpu/cpu0/cpufreq/scaling_driver": "acpi-cpufreq\n",
}

type Answers = dict[str, str]
type Made = Callable[..., Host]
CONFIGURED = Needs(configured=True, inputs=("spead://0.0.0.0:7148",))


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Make a machine: a sound one, with some files changed or (None) taken away."""

    def make(changed: dict[str, str | None] | None = None, answers: Answers | None = None) -> Host:
        root = tmp_path / "machine"
        for path, text in (SOUND | (changed or {})).items():
            if text is not None:
                place = root / path.lstrip("/")
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(text)
        told = {"timedatectl": "yes\n"} if answers is None else answers
        return Host(root, lambda *words: told.get(words[0]), lambda: None)

    return make


def one(found: Iterable[Finding]) -> Finding:
    (finding,) = found
    if finding.level in ("warning", "fault"):
        assert finding.remedy
    return finding


def test_nothing_is_wrong_with_a_sound_machine(made: Made, tmp_path: Path) -> None:
    needs = Needs(configured=True, inputs=CONFIGURED.inputs, output=tmp_path, memory_bytes=1 << 30)
    found = list(examine(made(), needs))
    assert [f for f in found if f.level != "fine"] == []
    assert {f.name for f in found} >= {"processors", "memory", "clock", "disk speed"}
    assert exit_code(found) == 0


def test_nothing_that_is_missing_stops_the_others(tmp_path: Path) -> None:
    host = Host(tmp_path / "nowhere", lambda *_: None, lambda: None)
    found = list(examine(host, Needs(output=tmp_path)))
    levels = {f.name: f.level for f in found}
    unknown = {name for name, level in levels.items() if level == "unknown"}
    assert unknown == {
        *("processors", "vector instructions", "processor clock", "memory", "swap", "limits"),
        *("clock", "file system", "receive buffers"),
    }
    assert exit_code(found) == 0


@pytest.mark.parametrize("rubbish", ["", "\0\0", "MemAvailable: lots\nflags:\n", "a:b:c:d\n" * 999])
def test_rubbish_in_the_files_of_the_kernel_is_no_crash(
    made: Made, tmp_path: Path, rubbish: str
) -> None:
    host = made(dict.fromkeys(SOUND, rubbish), dict.fromkeys(("nvidia-smi", "chronyc"), rubbish))
    found = list(examine(host, Needs(output=tmp_path, memory_bytes=1)))
    assert len(found) >= len(CHECKS) - 1
    assert not [f for f in found if f.level == "fault"]


def test_a_check_that_fails_is_unknown(made: Made) -> None:
    def odd_check(_: Host, __: Needs) -> Iterable[Finding]:
        raise ValueError("not a number")

    finding = one(examine(made(), Needs(), [odd_check]))
    assert (finding.name, finding.level) == ("odd check", "unknown")
    assert "not a number" in finding.said


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([], 0),
        ([Finding("a", "fine", ""), Finding("b", "warning", ""), Finding("c", "unknown", "")], 0),
        ([Finding("memory", "fault", "", "x"), Finding("b", "warning", "")], 4),
        ([Finding("configuration", "fault", "", "x"), Finding("memory", "fault", "", "x")], 2),
    ],
)
def test_exit_codes(findings: list[Finding], code: int) -> None:
    assert exit_code(findings) == code


# The machine.


@pytest.mark.parametrize(
    ("files", "threads", "level", "said"),
    [
        ({}, 4, "fine", "5 may be used"),
        ({}, 6, "warning", "search.threads asks for 6"),
        ({"/proc/self/status": "Cpus_allowed_list: 3"}, 1, "warning", "1 may be used"),
        ({"/sys/fs/cgroup/cpu.max": "max 100000"}, 4, "fine", "5 may be used"),
        ({"/sys/fs/cgroup/cpu.max": "250000 100000"}, 2, "fine", "for 2.5 processors' time"),
        (
            {"/sys/fs/cgroup/system.slice/mlppa.service/cpu.max": "150000 100000"},
            2,
            "warning",
            "for 1.5 processors' time (limit of a control group); search.threads asks for 2",
        ),
        (
            {
                "/proc/self/cgroup": "4:cpu,cpuacct:/docker/1f\n0::/\n",
                "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "100000",
                "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            },
            1,
            "warning",
            "for 1 processors' time",
        ),
        (
            {
                "/proc/self/cgroup": "4:cpu,cpuacct:/\n",
                "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            4,
            "fine",
            "5 may be used",
        ),
    ],
)
def test_processors(
    made: Made, files: dict[str, str | None], threads: int, level: str, said: str
) -> None:
    finding = one(processors(made(files), Needs(threads=threads)))
    assert finding.level == level
    assert said in finding.said


@pytest.mark.parametrize(
    ("cpuinfo", "level", "said"),
    [
        ("flags: avx avx2 avx512bw\nmodel name: X", "fine", "AVX-512, AVX2, AVX (X)"),
        ("flags: sse avx\nmodel name: Old", "warning", "no AVX2: AVX (Old)"),
        ("Features: fp asimd sve", "fine", "SVE, NEON"),
    ],
)
def test_vector_instructions(made: Made, cpuinfo: str, level: str, said: str) -> None:
    finding = one(vectors(made({"/proc/cpuinfo": cpuinfo}), Needs()))
    assert finding.level == level
    assert said in finding.said


@pytest.mark.parametrize(
    ("name", "driver", "level"),
    [
        ("performance", "acpi-cpufreq", "fine"),
        ("powersave", "acpi-cpufreq", "warning"),
        ("powersave", "intel_pstate", "fine"),
        ("schedutil", "cppc_cpufreq", "fine"),
    ],
)
def test_the_clock_of_the_processors(made: Made, name: str, driver: str, level: str) -> None:
    folder = "/sys/devices/system/cpu/cpu3/cpufreq"
    host = made({f"{folder}/scaling_governor": name, f"{folder}/scaling_driver": driver})
    finding = one(governor(host, Needs()))
    assert finding.level == level
    assert name in finding.said


@pytest.mark.parametrize(
    ("files", "planned", "level", "said"),
    [
        ({}, None, "fine", "8 GiB available"),
        ({}, 6 << 30, "fine", "the plan holds about 6 GiB"),
        ({}, 8 << 30, "fault", "8 GiB available; the plan holds about 8 GiB"),
        ({"/proc/meminfo": "MemAvailable: 1048576 kB"}, None, "warning", "1 GiB available"),
        ({"/sys/fs/cgroup/system.slice/memory.max": "2147483648"}, 2 << 30, "fault", "2 GiB"),
        ({"/sys/fs/cgroup/memory.max": "max"}, 2 << 30, "fine", "8 GiB available"),
        (
            {
                "/proc/self/cgroup": "9:memory:/docker/1f\n",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824",
            },
            None,
            "warning",
            "1 GiB allowed",
        ),
        (
            {
                "/proc/self/cgroup": "9:memory:/\n",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
            },
            None,
            "fine",
            "8 GiB available",
        ),
    ],
)  # fmt: skip
def test_memory(
    made: Made, files: dict[str, str | None], planned: int | None, level: str, said: str
) -> None:
    finding = one(memory(made(files), Needs(memory_bytes=planned)))
    assert finding.level == level
    assert said in finding.said


@pytest.mark.parametrize(
    ("total", "free", "level", "said"),
    [(0, 0, "fine", "none"), (2 << 20, 2 << 20, "fine", "2 GiB, not in use"),
     (2 << 20, 1 << 20, "warning", "1 GiB of 2 GiB are in use")],
)  # fmt: skip
def test_swap(made: Made, total: int, free: int, level: str, said: str) -> None:
    meminfo = f"SwapTotal: {total} kB\nSwapFree: {free} kB\n"
    finding = one(swap(made({"/proc/meminfo": meminfo}), Needs()))
    assert finding.level == level
    assert said in finding.said


def test_limits(made: Made) -> None:
    finding = one(limits(made(), Needs()))
    assert (finding.level, finding.said) == ("fine", "1024 open files, 8 MiB of locked memory")
    few = LIMITS.replace("1024 ", "256  ").replace("8388608  ", "unlimited")
    finding = one(limits(made({"/proc/self/limits": few}), Needs()))
    assert finding.level == "warning"
    assert "256 open files, unlimited of locked memory" in finding.said
    assert "LimitNOFILE" in str(finding.remedy)


@pytest.mark.parametrize(
    ("answers", "files", "device", "level", "said"),
    [
        ({"nvidia-smi": "NVIDIA H200, 143771 MiB\n"}, {}, "gpu", "fine", "NVIDIA H200, 143771"),
        ({}, {"/proc/driver/nvidia/gpus/0:1/information": "Model: \t A100"}, "gpu", "fine", "A100"),
        ({}, {}, "auto", "fine", "none is seen"),
        ({}, {}, "gpu", "fault", "classify.device asks for one"),
    ],
)  # fmt: skip
def test_accelerators(
    made: Made,
    monkeypatch: pytest.MonkeyPatch,
    answers: Answers,
    files: dict[str, str | None],
    device: str,
    level: str,
    said: str,
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    finding = one(gpu(made(files, answers), Needs(device=device)))
    assert finding.level == level
    assert said in finding.said
    if answers:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
        hidden = one(gpu(made(files, answers), Needs(device=device)))
        assert hidden.level == "fault"
        assert "hidden" in hidden.said


# What runs on it.


@pytest.mark.parametrize(
    ("found", "specifier", "holds"),
    [
        ("3.12.1", ">=3.12,<3.14", True),
        ("3.14.0", "<3.14,>=3.12", False),
        ("3.11.9", ">=3.12", False),
        ("2.0", ">=2.0.0", True),
        ("2.21.0rc1", ">=2.20", True),
        ("10.0", ">=9.1", True),
        ("1.5.2", "==1.5", True),
        ("1.5", ">1.5", False),
        ("1.5.0", "<=1.5", True),
        ("7", "", True),
    ],
)
def test_versions(found: str, specifier: str, holds: bool) -> None:
    assert satisfies(found, specifier) == holds


def test_packages_that_do_not_fit_are_named(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(python(made(), Needs())).level == "fine"
    wanted = ["numpy>=99", "no-such-package>=1", "rich>=1", 'absent>=1; extra == "galactic"']
    monkeypatch.setattr("mlppa.doctor.software.requires", lambda _: wanted)
    finding = one(packages(made(), Needs()))
    assert finding.level == "fault"
    assert "no-such-package is missing, not >=1" in finding.said
    assert "numpy is" in finding.said
    assert "rich" not in finding.said
    assert "absent" not in finding.said


def test_the_kernel_cache(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "new" / "cache"))
    assert one(kernel_cache(made(), Needs())).level == "fine"
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    finding = one(kernel_cache(made(), Needs()))
    assert finding.level == "warning"
    assert str(tmp_path / "file") in finding.said


@pytest.mark.parametrize(
    ("answers", "status", "level", "who"),
    [
        ({"timedatectl": "yes\n", "chronyc": "Not synchronised"}, 64, "fine", "systemd"),
        ({"timedatectl": "no\n"}, 0, "warning", "systemd"),
        ({"chronyc": "Reference ID: 1\nLeap status     : Normal"}, 64, "fine", "chrony"),
        ({"chronyc": "Leap status     : Not synchronised"}, 0, "warning", "chrony"),
        ({}, 0x2001, "fine", "the kernel"),
        ({}, 0x41, "warning", "the kernel"),
        ({}, None, "unknown", "neither"),
    ],
)  # fmt: skip
def test_the_clock(
    tmp_path: Path, answers: Answers, status: int | None, level: str, who: str
) -> None:
    host = Host(tmp_path, lambda *words: answers.get(words[0]), lambda: status)
    finding = one(clock(host, Needs()))
    assert finding.level == level
    assert who in finding.said


def test_the_clock_of_this_kernel_can_be_read() -> None:
    status = read_clock_status()
    assert status is None or 0 <= status < 1 << 16


@pytest.mark.parametrize(
    ("files", "needs", "level"),
    [
        ({}, CONFIGURED, "fine"),
        ({"/proc/sys/net/core/rmem_max": "212992"}, CONFIGURED, "warning"),
        ({"/proc/sys/net/core/rmem_max": "212992"}, Needs(), "warning"),
        ({"/proc/sys/net/core/rmem_max": "212992"}, Needs(configured=True), "fine"),
        ({"/proc/sys/net/core/netdev_max_backlog": "1000"}, CONFIGURED, "warning"),
    ],
)
def test_receive_buffers(
    made: Made, files: dict[str, str | None], needs: Needs, level: str
) -> None:
    finding = one(receive_buffers(made(files), needs))
    assert finding.level == level
    for path in files if level == "warning" else ():
        assert f"net.core.{Path(path).name}=" in str(finding.remedy)
        assert str(finding.remedy).count("net.core") == 1


def test_addresses_are_tried(made: Made, tmp_path: Path) -> None:
    with socket.socket() as taken, socket.socket(type=socket.SOCK_DGRAM) as heard:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        heard.bind(("127.0.0.1", 0))
        uris = {
            f"tcp://127.0.0.1:{taken.getsockname()[1]}": "fault",
            f"tcp://*:{taken.getsockname()[1]}": "fault",
            f"spead://127.0.0.1:{heard.getsockname()[1]}": "fault",
            "tcp://192.0.2.1:5757": "fault",
            "tcp://localhost:*": "fine",
            "tcp://*:*": "fine",
            "tcp://[::1]:0": "fine" if Path("/proc/net/if_inet6").exists() else "fault",
            "tcp://telescope.example:5757": "unknown",
            f"ipc://{tmp_path}/socket": "fine",
            f"ipc://{tmp_path}/none/socket": "fault",
        }
        needs = Needs(bound=tuple(("publish.replay", uri) for uri in uris))
        found = {f.said.split()[0].strip(":,"): f for f in addresses(made(), needs)}
    levels = {uri: next(f.level for said, f in found.items() if said == uri) for uri in uris}
    assert levels == uris
    assert all(f.remedy for f in found.values() if f.level == "fault")


# The folder for results.


def test_a_folder_that_is_not_there_yet(made: Made, tmp_path: Path) -> None:
    wanted = tmp_path / "some" / "folder"
    found = {f.name: f for f in output_folder(made(), Needs(output=wanted))}
    assert {name: f.level for name, f in found.items()} == dict.fromkeys(
        ("disk space", "file system", "disk speed"), "fine"
    )
    assert str(tmp_path) in found["disk space"].said
    assert list(tmp_path.iterdir()) == [tmp_path / "machine"]


def test_a_file_is_no_folder(made: Made, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for wanted in (tmp_path / "file", tmp_path / "file" / "inner"):
        assert one(output_folder(made(), Needs(output=wanted))).level == "fault"


def test_a_folder_that_cannot_be_written_to(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    locked = tmp_path / "locked"
    locked.mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
    if os.geteuid() == 0:  # whom no mode hinders
        monkeypatch.setattr("mlppa.doctor.folder.tempfile.TemporaryFile", refuse)
    finding = one(output_folder(made(), Needs(output=locked)))
    assert finding.level == "fault"
    assert "Permission denied" in finding.said


@pytest.mark.parametrize(
    ("mounts", "level"),
    [
        ("1 0 8:1 / / rw - ext4 sda rw\n2 1 0:9 / {} rw a:1 b:2 - nfs4 server:/x rw", "warning"),
        ("1 0 8:1 / / rw - nfs server rw\n2 1 0:9 / {} rw - xfs /dev/sdb rw", "fine"),
        ("1 0 8:1 / / rw - ext4 sda rw\n2 1 0:9 / {}x rw - nfs server:/x rw", "fine"),
        ("1 0 8:1 / / rw - ext4 sda rw\n2 1 0:9 / {} rw - fuse.sshfs me rw", "warning"),
        ("1 0 8:1 / / rw - ext4 sda rw\n2 1 0:9 / {} rw - tmpfs tmpfs rw", "warning"),
    ],
)
def test_file_systems(made: Made, tmp_path: Path, mounts: str, level: str) -> None:
    folder = tmp_path / "with blank"
    folder.mkdir()
    text = mounts.replace("{}", str(folder.resolve()).replace(" ", "\\040"))
    host = made({"/proc/self/mountinfo": text})
    found = {f.name: f for f in output_folder(host, Needs(output=folder))}
    assert found["file system"].level == level


def test_a_slow_or_full_disk(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sync(_: int) -> None:
        time.sleep(0.06)

    monkeypatch.setattr("mlppa.doctor.folder.os.fsync", sync)
    for free, level in ((32 << 20, "fault"), (512 << 20, "warning"), (2 << 30, "fine")):
        blocks = os.statvfs_result((4096, 4096, 0, 0, free >> 12, 0, 0, 0, 0, 255))
        monkeypatch.setattr("mlppa.doctor.folder.os.statvfs", lambda _, found=blocks: found)
        found = {f.name: f for f in output_folder(made(), Needs(output=tmp_path))}
        assert found["disk space"].level == level
        assert found["disk speed"].level == "warning"


# The configuration.


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration for a file that is there."""
    write_filterbank(SKY, tmp_path / "sky.fil")
    path = tmp_path / "run.toml"
    path.write_text(
        f'input = ["{tmp_path}/sky.fil"]\noutput = "{tmp_path}/out"\n'
        "[search]\ndm_max = 500\nthreads = 3\n"
        '[publish]\ndetections = "tcp://127.0.0.1:5999"\n'
    )
    return path


def test_what_a_configuration_needs(config: Path, tmp_path: Path) -> None:
    needs, findings = read_needs(config)
    assert [f.level for f in findings] == ["fine"]
    assert needs.memory_bytes is not None
    assert 1 << 20 < needs.memory_bytes < 1 << 30
    assert (needs.threads, needs.device, needs.output) == (3, "auto", tmp_path / "out")
    assert needs.bound == (("publish.detections", "tcp://127.0.0.1:5999"),)


@pytest.mark.parametrize(
    ("old", "new", "name", "level"),
    [
        ("sky.fil", "none.fil", "input", "warning"),
        ("sky.fil", "run.toml", "input", "fault"),
        ("dm_max = 500", "dm_max = 0.001", "configuration", "fault"),
        ("dm_max", "dm_min", "configuration", "fault"),
        ("[search]", '[classify]\nmodel = "none"\n[search]', "model", "fault"),
    ],
)
def test_what_is_wrong_with_a_configuration(
    config: Path, old: str, new: str, name: str, level: str
) -> None:
    config.write_text(config.read_text().replace(old, new))
    _, findings = read_needs(config)
    finding = findings[-1]
    assert (finding.name, finding.level) == (name, level)
    assert finding.remedy
    assert exit_code(findings) == (2 if name == "configuration" else 4 if level == "fault" else 0)


def test_a_live_input_has_no_header_yet(config: Path) -> None:
    lines = config.read_text().splitlines()
    config.write_text("\n".join(['input = ["spead://127.0.0.1:7148"]', *lines[1:]]))
    needs, findings = read_needs(config)
    assert (findings[-1].name, findings[-1].level) == ("input", "unknown")
    assert needs.memory_bytes is None
    assert needs.listens("spead")
    assert ("input", "spead://127.0.0.1:7148") in needs.bound


# The command.


def test_the_command_on_this_machine(config: Path) -> None:
    """It may find things on the machine of the tests; it must tell all, and soon."""
    best = 99.0
    for _ in range(2):
        began = time.monotonic()
        done = subprocess.run(
            [MLPPA, "doctor", config, "--json"], capture_output=True, text=True, timeout=30
        )
        best = min(best, time.monotonic() - began)
    told = json.loads(done.stdout)
    names = {finding["name"] for finding in told["findings"]}
    assert names >= {"configuration", "Python", "memory", "disk speed", "publish.detections"}
    assert done.returncode == told["exit_code"]
    assert done.returncode in (0, 4)
    assert best < 4


def test_nothing_heavy_is_imported(config: Path) -> None:
    code = (
        "import sys\n"
        "from mlppa.doctor import Host, examine, read_needs\n"
        "from pathlib import Path\n"
        "needs, _ = read_needs(Path(sys.argv[1]))\n"
        "assert list(examine(Host(), needs))\n"
        "heavy = {'tensorflow', 'numba', 'matplotlib', 'scipy', 'onnxruntime'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code, str(config)], check=True, timeout=60)


def test_the_command_for_people(call: Call, config: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config.write_text(config.read_text().replace("5999", str(port)))
        ended = call("doctor", config)
    assert ended.code == 4
    words = " ".join(ended.out.split())
    assert f"fault publish.detections tcp://127.0.0.1:{port} cannot be had" in words
    assert "→ end what uses it" in words
    config.write_text("stream = 3")
    ended = call("doctor", config)
    assert ended.code == 2
    assert "fault configuration" in " ".join(ended.out.split())


def test_a_program_that_hangs_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlppa.doctor.host.PATIENCE_S", 0.2)
    began = time.monotonic()
    assert run_program("sleep", "20") is None
    assert time.monotonic() - began < 5
    assert run_program("no-such-program-here") is None
    assert run_program("false") is None
    assert run_program("echo", "yes") == "yes\n"
