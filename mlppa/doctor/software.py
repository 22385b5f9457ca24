"""Python, packages, and where compiled kernels are kept."""

import os
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

from .finding import Finding, Needs
from .host import Host

_SPECIFIER = re.compile(r"(>=|<=|==|<|>)\s*([0-9.]+)")
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*([^;]*)(;.*)?")


def python(_: Host, __: Needs) -> Iterator[Finding]:
    """Compare the version of Python with the one that the package asks for."""
    ours = ".".join(map(str, sys.version_info[:3]))
    try:
        wanted = str(metadata("mlppa")["Requires-Python"])
    except (PackageNotFoundError, KeyError):
        yield Finding("Python", "unknown", f"{ours}; mlppa is not installed as a package")
        return
    if satisfies(ours, wanted):
        yield Finding("Python", "fine", ours)
    else:
        yield Finding("Python", "fault", f"{ours}; mlppa needs {wanted}", "make again with another")


def packages(_: Host, __: Needs) -> Iterator[Finding]:
    """Compare the versions of packages with those that ours asks for."""
    try:
        lines = requires("mlppa") or []
    except PackageNotFoundError:
        yield Finding("packages", "unknown", "mlppa is not installed as a package")
        return
    wanted = [match.groups() for line in lines if (match := _REQUIREMENT.match(line))]
    bad = []
    needed = [(name, specifier) for name, specifier, marker in wanted if not marker]
    for name, specifier in needed:
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "missing"
        if found == "missing" or not satisfies(found, specifier):
            bad.append(f"{name} is {found}, not {specifier.strip()}")
    if bad:
        yield Finding("packages", "fault", "; ".join(bad), "run make again, or pip install mlppa")
    else:
        yield Finding("packages", "fine", f"{len(needed)} as needed")


def satisfies(found: str, specifier: str) -> bool:
    """Whether a version is in a range such as ``>=3.12,<3.14``; only numbers count."""
    ours = _numbers(found)
    holds = {
        ">=": lambda there: ours >= there,
        "<=": lambda there: ours[: len(there)] <= there,
        "==": lambda there: ours[: len(there)] == there,
        ">": lambda there: ours > there,
        "<": lambda there: ours < there,
    }
    return all(holds[sign](_numbers(there)) for sign, there in _SPECIFIER.findall(specifier))


def _numbers(text: str) -> tuple[int, ...]:
    """Give the leading numbers of a version, without zeros at the end."""
    match = re.match(r"\d+(?:\.\d+)*", text)
    numbers = [int(part) for part in match[0].split(".")] if match else []
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def kernel_cache(_: Host, __: Needs) -> Iterator[Finding]:
    """Look whether Numba can keep what it compiles."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    beside = Path(__file__).parents[1] / "dedisperse" / "__pycache__"
    # the order in which Numba looks for a place
    places = [Path(chosen)] if chosen else [beside, _user_cache()]
    for place in places:
        if _can_be_written(place):
            yield Finding("kernel cache", "fine", f"{place} can be written to")
            return
    said = f"{' and '.join(map(str, places))} cannot be written to: each start compiles anew"
    remedy = "set NUMBA_CACHE_DIR to a folder that can be written to"
    yield Finding("kernel cache", "warning", said, remedy)


def _user_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    return Path(base) / "numba"


def _can_be_written(folder: Path) -> bool:
    """Whether files can be made in a folder, or the folder itself."""
    there = next((path for path in (folder, *folder.parents) if path.exists()), None)
    return there is not None and there.is_dir() and os.access(there, os.W_OK | os.X_OK)
