"""Imports go down the floors of the house, and what is heavy comes late."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1] / "mlppa"
#: Who makes a new room decides here on which floor it is.
FLOORS = (
    {"data", "errors"},
    {
        *("dispersion", "formats", "metrics", "wire", "channel", "stopwatch", "allocator"),
        *("disk", "rows", "curve", "shares", "web"),
    },
    {
        *("sources", "sinks", "gulps", "clean", "dedisperse", "search", "images", "classify"),
        *("decide", "publish", "listen", "plots", "simulate", "watchdog", "listed"),
        *("inject", "known", "players", "arrivals"),
    },
    {"config", "pipeline", "warmup", "offline", "results", "confirm", "training", "dashboard"},
    {"replay", "doctor", "live"},
    {"cli", "service", "demo", "bench", "__main__"},
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
HEAVY = {"tensorflow", "keras", "numba", "matplotlib", "astropy", "sigpyproc", "your", "scipy"}
#: What makes a thread or a process, and who may.
MAKERS = {"Thread", "Timer", "ThreadPoolExecutor", "ProcessPoolExecutor", "Process", "Pool"}
THREADED = {
    *("channel.py", "dedisperse/engine.py", "sinks/zmq.py", "web.py", "demo.py"),
    *("bench/ceiling.py", "training/shards.py"),
}
#: What threads wait for each other with, and who may.
LOCKS = {"Lock", "RLock", "Condition", "Semaphore", "Event", "Barrier", "Queue", "SimpleQueue"}
LOCKED = {"channel.py"}
FILES = [path for path in sorted(HOUSE.rglob("*.py")) if path != HOUSE / "__init__.py"]


def room_of(path: Path) -> str:
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


def rooms_of(node: ast.AST, package: tuple[str, ...]) -> set[str]:
    """Rooms that one import statement in a module of `package` enters."""
    if isinstance(node, ast.Import):
        names = [alias.name.split(".") for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        base = [*package[: len(package) - node.level + 1]] if node.level else []
        base += node.module.split(".") if node.module else []
        names = [[*base, alias.name] for alias in node.names]
    else:
        return set()
    ours = {name[1] for name in names if name[0] == "mlppa" and len(name) > 1}
    return ours - {"__version__"}


def imports(path: Path) -> set[str]:
    """Rooms that a file enters, at its top or inside a function."""
    package = ("mlppa", *path.relative_to(HOUSE).parts[:-1])
    nodes = ast.walk(ast.parse(path.read_text()))
    return set().union(*(rooms_of(node, package) for node in nodes)) - {room_of(path)}


def test_house_is_found() -> None:
    assert {"data", "errors", "dispersion"} <= {room_of(path) for path in FILES}


@pytest.mark.parametrize(
    ("line", "package", "rooms"),
    [
        ("from ..data import Block", ("mlppa", "sources"), {"data"}),
        ("from .. import metrics, errors", ("mlppa", "sources"), {"metrics", "errors"}),
        ("from . import channel", ("mlppa",), {"channel"}),
        ("from .memory import MemorySource", ("mlppa", "sources"), {"sources"}),
        ("import mlppa.cli", ("mlppa",), {"cli"}),
        ("from mlppa.formats.sigproc import read_header", ("mlppa",), {"formats"}),
        ("import numpy as np", ("mlppa",), set()),
    ],
)
def test_import_statements_are_understood(
    line: str, package: tuple[str, ...], rooms: set[str]
) -> None:
    assert rooms_of(ast.parse(line).body[0], package) == rooms


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_imports_go_down(path: Path) -> None:
    room = room_of(path)
    assert room in FLOOR, f"{room} is a new room: give it a floor in {Path(__file__).name}"
    for other in imports(path):
        assert other in FLOOR, f"{room} imports {other}, which is no room of the house"
        assert FLOOR[other] <= FLOOR[room], f"{room} (floor {FLOOR[room]}) imports {other}"


def test_rooms_do_not_import_each_other_in_a_circle() -> None:
    doors: dict[str, set[str]] = {}
    for path in FILES:
        doors.setdefault(room_of(path), set()).update(imports(path))
    assert len(list(TopologicalSorter(doors).static_order())) >= len(doors)


def callers(names: set[str]) -> set[str]:
    """Files that call one of the names, as a function or as an attribute."""

    def called(node: ast.Call) -> str:
        return getattr(node.func, "attr", getattr(node.func, "id", ""))

    return {
        path.relative_to(HOUSE).as_posix()
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and called(node) in names
    }


def test_threads_are_made_and_wait_in_few_places() -> None:
    """The page of contributors names them: change it too."""
    assert callers(MAKERS) == THREADED
    assert callers(LOCKS) == LOCKED
    page = (HOUSE.parent / "CONTRIBUTING.md").read_text()
    for path in THREADED:
        assert f"`{path.removesuffix('.py')}`" in page, path


@pytest.mark.skipif(find_spec("mlppa.cli") is None, reason="there is no command line yet")
def test_command_line_imports_nothing_heavy() -> None:
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import mlppa.cli"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in run.stderr.splitlines()}
    assert "mlppa" in loaded
    assert not HEAVY & loaded
