"""The machine, as its kernel and a few programs tell of it."""

import ctypes
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

#: A program that has not answered by then is left alone: the whole takes no longer than this
#: and a bit.
PATIENCE_S = 3.0

#: More of a file of the kernel is not read: /proc/cpuinfo of 256 processors takes half of it.
_MOST_CHARACTERS = 1 << 20


def run_program(*words: str) -> str | None:
    """Give what a program prints; None where it is not there, fails, or does not answer."""
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


class _Timex(ctypes.Structure):
    """The head of struct timex, and room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def read_clock_status() -> int | None:
    """Read the status of the kernel's clock (adjtimex); None where it is not told."""
    try:
        adjtimex = ctypes.CDLL(None).adjtimex
    except (OSError, AttributeError):
        return None
    timex = _Timex()
    return int(timex.status) if adjtimex(ctypes.byref(timex)) >= 0 else None


@dataclass(frozen=True, slots=True)
class Host:
    """Where to look: tests give a folder that looks like a machine.

    Parameters
    ----------
    root
        What stands in front of /proc and /sys.
    ask
        Runs a program, as `run_program` does.
    clock_status
        Tells how the kernel's clock is, as `read_clock_status` does.
    """

    root: Path = Path("/")
    ask: Callable[..., str | None] = run_program
    clock_status: Callable[[], int | None] = read_clock_status

    def at(self, path: str) -> Path:
        """Give the place of an absolute path."""
        return self.root / path.lstrip("/")

    def read(self, path: str) -> str | None:
        """Give the text of a file without white space around it; None where there is none."""
        try:
            with self.at(path).open(errors="replace") as file:
                return file.read(_MOST_CHARACTERS).strip()
        except OSError:
            return None

    def number(self, path: str) -> int | None:
        """Give the number that is all of a file; None where there is none."""
        text = self.read(path)
        return int(text) if text is not None and text.lstrip("-").isdigit() else None

    def fields(self, path: str) -> dict[str, str]:
        """Give the first value of each name in a file of lines ``name: value``."""
        found: dict[str, str] = {}
        for line in (self.read(path) or "").splitlines():
            name, colon, value = line.partition(":")
            if colon:
                found.setdefault(name.strip(), value.strip())
        return found

    def control_groups(self, controller: str) -> Iterator[str]:
        """Give the folders whose limits hold for us: ours, and those around it.

        Both versions are looked at. In a container the path may be that of the machine
        outside, so the top is always among them.
        """
        for line in (self.read("/proc/self/cgroup") or "0::/").splitlines():
            _, controllers, path = [*line.split(":", 2), "", ""][:3]
            if controllers == "":
                tops = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
            elif controller in controllers.split(","):
                tops = [f"/sys/fs/cgroup/{name}" for name in {controllers, controller}]
            else:
                continue
            inner = PurePosixPath(path.lstrip("/"))
            yield from (f"{top}/{part}" for top in tops for part in (inner, *inner.parents))


def as_bytes(kibibytes: str) -> int:
    """Read an amount as /proc/meminfo has it, such as ``16303236 kB``."""
    return int(kibibytes.removesuffix("kB")) << 10


def in_words(nbytes: float) -> str:
    """Write an amount of memory for people."""
    unit, size = ("GiB", 2**30) if nbytes >= 2**30 else ("MiB", 2**20)
    return f"{nbytes / size:.3g} {unit}" if nbytes < 1000 * size else f"{nbytes / size:.0f} {unit}"
