"""Whether the clock of the machine is kept right by another one."""

from collections.abc import Iterator

from .finding import Finding, Needs
from .host import Host

_REMEDY = "sudo timedatectl set-ntp true, or install chrony"

#: Of the kernel's status (linux/timex.h): nobody disciplines the clock.
_UNSYNCHRONISED = 0x40


def clock(host: Host, _: Needs) -> Iterator[Finding]:
    """Ask systemd, then chrony, then the kernel."""
    told = (host.ask("timedatectl", "show", "-p", "NTPSynchronized", "--value") or "").strip()
    if told in ("yes", "no"):
        yield _finding(told == "yes", "systemd")
    elif "Leap status" in (tracking := host.ask("chronyc", "tracking") or ""):
        yield _finding("Not synchronised" not in tracking, "chrony")
    elif (status := host.clock_status()) is not None:
        yield _finding(not status & _UNSYNCHRONISED, "the kernel")
    else:
        said = "neither systemd, nor chrony, nor the kernel tells"
        yield Finding("clock", "unknown", said)


def _finding(synchronised: bool, who: str) -> Finding:
    if synchronised:
        return Finding("clock", "fine", f"synchronised, says {who}")
    said = f"not synchronised, says {who}: dates and latencies of live streams may be off"
    return Finding("clock", "warning", said, _REMEDY)
