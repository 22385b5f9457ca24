"""Receive buffers, and addresses that must be free."""

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from .finding import Finding, Needs
from .host import Host, in_words

#: What the receiver of SPEAD asks the kernel for; with less, packets are lost in a pause.
WANTED_BUFFER = 32 << 20

#: Packets that may wait before the kernel has looked at them.
WANTED_BACKLOG = 10_000


def receive_buffers(host: Host, needs: Needs) -> Iterator[Finding]:
    """Compare the buffers of the kernel with what a stream of packets needs."""
    names = {"rmem_max": WANTED_BUFFER, "rmem_default": 0, "netdev_max_backlog": WANTED_BACKLOG}
    found = {name: host.number(f"/proc/sys/net/core/{name}") for name in names}
    known = {name: value for name, value in found.items() if value is not None}
    said = ", ".join(
        f"{name} {value if name == 'netdev_max_backlog' else in_words(value)}"
        for name, value in known.items()
    )
    small = {name: names[name] for name, value in known.items() if value < names[name]}
    if not known:
        yield Finding("receive buffers", "unknown", "/proc/sys/net/core does not tell them")
    elif not small:
        yield Finding("receive buffers", "fine", said)
    elif not needs.listens("spead"):
        yield Finding("receive buffers", "fine", f"{said}; no input is SPEAD")
    else:
        settings = " ".join(f"net.core.{name}={value}" for name, value in small.items())
        remedy = f"sudo sysctl -w {settings}, and the same in /etc/sysctl.d for the next start"
        yield Finding("receive buffers", "warning", f"{said}: little for SPEAD", remedy)


def addresses(host: Host, needs: Needs) -> Iterator[Finding]:
    """Try to bind what the configuration will bind."""
    for key, uri in needs.bound:
        if uri.startswith("ipc://"):
            yield _local(key, uri)
        elif (place := _place(host, uri)) is None:
            yield Finding(key, "unknown", f"{uri}: the name is not looked up, so it was not tried")
        else:
            yield _tried(key, uri, *place)


def _local(key: str, uri: str) -> Finding:
    folder = Path(uri.removeprefix("ipc://")).parent
    if uri.startswith("ipc://@") or os.access(folder, os.W_OK | os.X_OK):
        return Finding(key, "fine", f"{uri} can be made")
    remedy = f"make {folder}, or name another"
    return Finding(key, "fault", f"{uri}: {folder} is not there, or cannot be written to", remedy)


def _place(host: Host, uri: str) -> tuple[str, int] | None:
    """Give the host and the port of a URI; None for a name that only a server knows."""
    parts = urlsplit(uri.replace("://*", "://0.0.0.0", 1).replace(":*", ":0"))
    name, port = parts.hostname or "", parts.port or 0
    if host.at(f"/sys/class/net/{name}").exists() and name:
        return None
    if name == "localhost":
        return "127.0.0.1", port
    try:
        socket.getaddrinfo(name, port, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return None
    return name, port


def _tried(key: str, uri: str, name: str, port: int) -> Finding:
    kind = socket.SOCK_DGRAM if uri.startswith("spead:") else socket.SOCK_STREAM
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    with closing(socket.socket(family, kind)) as tried:
        if kind == socket.SOCK_STREAM:
            # as ZeroMQ has it: what is left of closed connections does not hinder
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((name, port))
        except OSError as error:
            remedy = "end what uses it (ss -lnp names it), or choose another address"
            return Finding(key, "fault", f"{uri} cannot be had ({error.strerror})", remedy)
    return Finding(key, "fine", f"{uri} is free")
