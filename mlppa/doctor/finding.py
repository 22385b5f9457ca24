"""What a check finds, and what it looks for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

type Level = Literal["fine", "warning", "fault", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Parameters
    ----------
    name
        What it is.
    level
        "fault" stops a search, or ruins it; "warning" may cost speed or data.
    said
        How it is, with its figures.
    remedy
        What to do about it.
    """

    name: str
    level: Level
    said: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What is to run on the machine; the defaults are those without a configuration.

    Parameters
    ----------
    configured
        Whether there is a configuration.
    inputs
        URIs.
    output
        Folder of the results.
    bound
        Addresses that will be bound, by the key that names them.
    threads
        That dedisperse.
    device
        Where the network runs: "auto", "cpu" or "gpu".
    memory_bytes
        What the plan holds; None where no header is known.
    """

    configured: bool = False
    inputs: tuple[str, ...] = ()
    output: Path = Path()
    bound: tuple[tuple[str, str], ...] = ()
    threads: int = 1
    device: str = "auto"
    memory_bytes: int | None = None

    def listens(self, scheme: str) -> bool:
        """Whether an input has a scheme; without a configuration it may."""
        return not self.configured or any(uri.startswith(f"{scheme}:") for uri in self.inputs)
