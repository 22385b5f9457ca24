"""How far it is: a bar on a terminal, nothing anywhere else."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress


class Tell(Protocol):
    """Says how far it is."""

    def __call__(self, what: str, done: float, total: float | None, figures: str = "") -> None:
        """Name what is being done, how much of it is, and what came of it so far."""


def is_shown(quiet: bool) -> bool:
    """Whether anybody would see a bar."""
    from rich.console import Console

    return not quiet and Console(stderr=True).is_terminal


@contextmanager
def bar(quiet: bool) -> Iterator[Tell]:
    """Draw a bar while something runs; it is gone when that ends."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not is_shown(quiet)
    ) as progress:
        yield _Teller(progress)


class _Teller:
    """Begins a bar anew for each thing that is done."""

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=None, figures="")
        self._what = ""

    def __call__(self, what: str, done: float, total: float | None, figures: str = "") -> None:
        if what != self._what:
            self._what = what
            self._progress.reset(self._task, description=what, total=total)
        self._progress.update(self._task, completed=done, figures=figures)
