"""The scripts behind `make`: they meet machines that are not like this one."""

import os
import subprocess
import sys
from pathlib import Path
from shutil import copy, copytree, which

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = ("awk", "cat", "cksum", "dirname", "env", "head", "make", "rm", "sed", "sh")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the scripts are for POSIX shells")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """An empty machine: a PATH without any Python, and an empty home."""
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        if found := which(tool):
            (tmp_path / "bin" / tool).symlink_to(found)
    return tmp_path


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def good_python(path: Path) -> Path:
    return program(path, f'exec "{sys.executable}" "$@"')


def find_python(machine: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    home = {"PATH": str(machine / "bin"), "HOME": str(machine / "home")}
    command = ["sh", str(ROOT / "deploy" / "find-python.sh")]
    return subprocess.run(
        command, env=home | settings, capture_output=True, text=True, timeout=60, check=False
    )


def test_python_on_the_path_is_found(machine: Path) -> None:
    python = good_python(machine / "bin" / "python3.12")
    assert find_python(machine).stdout.strip() == str(python)


def test_shim_that_fails_is_passed_over(machine: Path) -> None:
    program(machine / "bin" / "python3.13", "echo 'pyenv: command not found' >&2; exit 127")
    python = good_python(machine / "home" / ".pyenv" / "versions" / "3.13.1" / "bin" / "python")
    assert find_python(machine).stdout.strip() == str(python)


def test_old_python_is_passed_over(machine: Path) -> None:
    program(machine / "bin" / "python3", "exit 1")
    place = machine / "my pythons"
    python = good_python(place / "cpython-3.12.9-linux" / "bin" / "python3")
    found = find_python(machine, UV_PYTHON_INSTALL_DIR=str(place))
    assert found.stdout.strip() == str(python)


def test_without_python_it_says_what_to_install(machine: Path) -> None:
    found = find_python(machine)
    assert found.returncode == 4
    assert found.stdout == ""
    for word in ("3.12", "3.13", "apt install", "pyenv install", "MLPPA_PYTHON"):
        assert word in found.stderr


def test_chosen_python_is_the_only_candidate(machine: Path) -> None:
    good_python(machine / "bin" / "python3.13")
    chosen = good_python(machine / "another" / "python")
    assert find_python(machine, MLPPA_PYTHON=str(chosen)).stdout.strip() == str(chosen)


def test_unsuitable_choice_is_an_error(machine: Path) -> None:
    good_python(machine / "bin" / "python3.13")
    old = program(machine / "old", "exit 1")
    found = find_python(machine, MLPPA_PYTHON=str(old))
    assert found.returncode == 4
    assert found.stdout == ""
    assert "MLPPA_PYTHON" in found.stderr


@pytest.fixture
def checkout(machine: Path) -> Path:
    """A checkout whose environment is made by a Python that only notes what is asked of it."""
    here = machine / "a folder with spaces"
    copytree(ROOT / "deploy", here / "deploy")
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        copy(ROOT / name, here)
    note = f'echo "$0 $*" >>"{machine}/asked"'
    fake = f"""
        {note}
        case "$*" in
            "-m venv"*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && cp "$0" "$3/bin/uv";;
            -c*) echo here;;
        esac"""
    for tool in ("mkdir", "cp", "chmod"):
        (machine / "bin" / tool).symlink_to(which(tool) or tool)
    program(machine / "bin" / "python3.13", fake)
    return here


def setup(checkout: Path) -> list[str]:
    """Run the set-up; tell what was asked of Python and uv."""
    asked = checkout.parent / "asked"
    asked.write_text("")
    home = {"PATH": str(checkout.parent / "bin"), "HOME": str(checkout.parent)}
    subprocess.run(["make", "setup"], cwd=checkout, env=home, check=True, timeout=60)
    return asked.read_text().splitlines()


def installed(asked: list[str]) -> bool:
    return any("--require-hashes -r requirements.lock" in line for line in asked)


def test_second_setup_installs_nothing(checkout: Path) -> None:
    first = setup(checkout)
    assert installed(first)
    assert any("--no-deps --no-build-isolation -e ." in line for line in first)
    assert all("install" not in line for line in setup(checkout))


def test_changed_lock_is_installed(checkout: Path) -> None:
    setup(checkout)
    with (checkout / "requirements.lock").open("a") as lock:
        lock.write("# changed\n")
    asked = setup(checkout)
    assert installed(asked)
    assert not any("-m venv" in line for line in asked), "the environment is kept"


def test_interrupted_setup_starts_afresh(checkout: Path) -> None:
    setup(checkout)
    (checkout / ".venv" / ".mlppa-setup").unlink()
    (checkout / ".venv" / "half a package").touch()
    assert installed(setup(checkout))
    assert not (checkout / ".venv" / "half a package").exists()


def test_moved_checkout_starts_afresh(checkout: Path) -> None:
    setup(checkout)
    moved = checkout.rename(checkout.with_name("moved"))
    assert any("-m venv" in line for line in setup(moved))


def test_uv_is_installed_by_its_hash(checkout: Path) -> None:
    setup(checkout)
    lines = (checkout / ".venv" / "uv.lock").read_text().splitlines()
    assert lines[0].startswith("uv==")
    assert len(lines) > 1
    assert all(line.strip().startswith("--hash=sha256:") for line in lines[1:])
