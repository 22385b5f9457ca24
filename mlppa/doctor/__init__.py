"""What a machine, and a configuration on it, lack for a search in real time.

Each check is a function that gives findings; none changes anything, except that a file is
written to the output folder and taken away again. What cannot be told is a finding, too.
"""

from collections.abc import Callable, Iterable, Iterator

from .clock import clock
from .finding import Finding, Level, Needs
from .folder import output_folder
from .host import Host
from .machine import governor, gpu, limits, memory, processors, swap, vectors
from .network import addresses, receive_buffers
from .settings import CONFIGURATION, read_needs
from .software import kernel_cache, packages, python

__all__ = ["CHECKS", "Finding", "Host", "Level", "Needs", "examine", "exit_code", "read_needs"]

type Check = Callable[[Host, Needs], Iterable[Finding]]

CHECKS: tuple[Check, ...] = (
    *(python, packages, kernel_cache),
    *(processors, vectors, governor, memory, swap, limits, gpu),
    *(clock, output_folder, receive_buffers, addresses),
)


def examine(host: Host, needs: Needs, checks: Iterable[Check] = CHECKS) -> Iterator[Finding]:
    """Make all checks.

    Parameters
    ----------
    host
        The machine.
    needs
        What is to run on it.
    checks
        Which.
    """
    for check in checks:
        try:
            yield from check(host, needs)
        except (OSError, ValueError, LookupError) as error:
            # files of the kernel that look like none before
            name = check.__name__.replace("_", " ")
            yield Finding(name, "unknown", f"cannot be told ({type(error).__name__}: {error})")


def exit_code(findings: Iterable[Finding]) -> int:
    """Give 2 where the configuration is wrong, 4 where the machine must change, else 0."""
    faults = {finding.name for finding in findings if finding.level == "fault"}
    return 2 if CONFIGURATION in faults else 4 if faults else 0
