"""Addresses that messages are sent to and heard at."""

import os
import re

#: What to do about an address that is none.
ADDRESS_REMEDY = "give one like tcp://127.0.0.1:5757 or ipc:///tmp/mlppa"

#: Longest path of a local socket, in bytes: the kernel has room for one more.
LONGEST_PATH = 107

_TCP = re.compile(r"tcp://(?P<host>\*|[^\s/:*\[\]]+|\[[0-9A-Fa-f:.%\w]+\]):(?P<port>\*|[0-9]{1,5})")


def address_fault(address: str, *, bound: bool = True) -> str | None:
    """Tell what is wrong with the form of a ZeroMQ address; None if nothing is.

    Parameters
    ----------
    address
        ``tcp://HOST:PORT`` or ``ipc://PATH``.
    bound
        Whether it is to be bound, where ``*`` stands for all hosts or any free port, and
        not to be connected to.
    """
    if address.startswith("ipc://"):
        return _path_fault(address.removeprefix("ipc://"))
    found = _TCP.fullmatch(address)
    if found is None:
        return f"{address!r} is not an address (tcp://HOST:PORT or ipc://PATH)"
    if not bound and "*" in found.groups():
        return f"{address} names no single host and port, as a listener must"
    if found["port"] != "*" and not int(not bound) <= int(found["port"]) <= 65535:
        return f"{address} has a port that is not between {int(not bound)} and 65535"
    return None


def _path_fault(path: str) -> str | None:
    if not path:
        return "ipc:// has no path"
    if len(os.fsencode(path)) > LONGEST_PATH:
        return f"ipc:// takes paths of at most {LONGEST_PATH} bytes, not {len(os.fsencode(path))}"
    return None
