"""Telling systemd how the daemon fares: the protocol of sd_notify(3)."""

import logging
import os
import socket

log = logging.getLogger(__name__)


class Notifier:
    """Sends states to the service manager; without one it does nothing.

    Parameters
    ----------
    address
        Path of its datagram socket, or ``@`` and an abstract name; by default what
        ``NOTIFY_SOCKET`` says.
    """

    def __init__(self, address: str | None = None) -> None:
        address = os.environ.get("NOTIFY_SOCKET") if address is None else address
        self._address = f"\0{address[1:]}" if address and address.startswith("@") else address
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    def tell(self, **states: object) -> None:
        """Send states, such as ``READY=1`` or ``STATUS="…"``."""
        if self._socket is None or self._address is None:
            return
        text = "\n".join(f"{name}={value}" for name, value in states.items())
        try:
            self._socket.sendto(text.encode(), self._address)
        except OSError as error:
            # it may be restarted itself: the next one may come through
            log.debug("the service manager cannot be told (%s)", error.strerror)

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()


def watchdog_s() -> float | None:
    """Give how often the service manager wants to hear of us, if at all."""
    wanted, who = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID")
    if not wanted.isdigit() or not int(wanted) or who not in (None, str(os.getpid())):
        return None
    return int(wanted) / 1e6
