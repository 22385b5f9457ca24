"""UDP sockets that listen: bound, in their group, with room, and deaf to noise."""

import ctypes
import errno
import logging
import socket
import struct
import sys

from ..errors import EndpointError
from ..formats.spead import LARGEST_HEAP, Address

logger = logging.getLogger(__name__)

#: Packets with more items are no stream of ours.
MOST_ITEMS = 24

_REMEDIES = {
    errno.EADDRINUSE: "end the program that uses it, or take another port",
    errno.EADDRNOTAVAIL: "name an address of this machine, or 0.0.0.0 for all of them",
    errno.ENODEV: "give interface=IP, the address of an interface of this machine",
    errno.EACCES: "take a port above 1023",
}

# Linux's numbers, which Python does not name.
_SO_ATTACH_FILTER, _SO_MEMINFO = 26, 55
_LOAD_HALF, _LOAD_WORD, _JUMP_EQUAL, _JUMP_GREATER = 0x28, 0x20, 0x15, 0x25
_RETURN, _TO_INDEX, _FROM_INDEX = 0x06, 0x07, 0x87


def listen_udp(address: Address, buffer_bytes: int) -> socket.socket:
    """Open the socket of a SPEAD stream.

    Parameters
    ----------
    address
        Of this machine, or of a multicast group to join on ``address.interface``.
    buffer_bytes
        Receive buffer to ask the kernel for; where it gives less, the log says so.

    Raises
    ------
    EndpointError
        The address cannot be had.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        _attach_filter(listener)
        _ask_for_buffer(listener, address, buffer_bytes)
        if address.multicast:
            # several may listen to a group on one machine
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        if address.multicast:
            joined = socket.inet_aton(address.host) + socket.inet_aton(
                address.interface or "0.0.0.0"
            )
            listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joined)
    except OSError as error:
        listener.close()
        cause = f"cannot be bound ({error.strerror})"
        remedy = _REMEDIES.get(error.errno or 0, "name an address of this machine")
        raise EndpointError(address.uri, cause, remedy) from error
    return listener


def dropped_packets(listener: socket.socket) -> int:
    """Tell how many packets the kernel has dropped, modulo 2**32: no room, or no SPEAD."""
    if sys.platform != "linux":
        return 0
    try:
        counts = struct.unpack("9I", listener.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36))
    except (OSError, struct.error):  # closed meanwhile, or in a sandbox
        return 0
    return int(counts[8])


def _ask_for_buffer(listener: socket.socket, address: Address, nbytes: int) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, nbytes)
    got = listener.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    if sys.platform == "linux":
        got //= 2  # the kernel counts its own needs, too
    if got < nbytes:
        logger.error(
            "%s: the receive buffer is %d bytes, not %d: packets may be lost; "
            "as root: sysctl -w net.core.rmem_max=%d",
            address.uri,
            got,
            nbytes,
            nbytes,
        )


def _attach_filter(listener: socket.socket) -> None:
    """Let the kernel drop what is no SPEAD-64-48, or claims a heap above `LARGEST_HEAP`.

    spead2 makes room for whatever length one packet claims, and a length that there is no
    room for ends its thread: such packets must not reach it.
    """
    if sys.platform != "linux":
        return
    program = _filter(MOST_ITEMS, LARGEST_HEAP)
    code = ctypes.create_string_buffer(program)
    pointer = struct.pack("HP", len(program) // 8, ctypes.addressof(code))
    try:
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pointer)
    except OSError as error:  # some sandboxes have no filters
        logger.warning("no packet filter (%s): a forged packet could stop this input", error)


def _filter(most_items: int, largest_heap: int) -> bytes:
    """Assemble the filter, in the kernel's classic BPF.

    An instruction is (code, how many to skip if true, how many if not, operand). Offsets
    count from the UDP header, of 8 bytes; item pointers begin at 16, of 8 bytes each.
    """
    keep, drop = "keep", "drop"
    lines: list[tuple[int, int | str, int | str, int]] = [
        *((_LOAD_HALF, 0, 0, 8), (_JUMP_EQUAL, 0, drop, 0x5304)),  # magic, version 4
        *((_LOAD_HALF, 0, 0, 10), (_JUMP_EQUAL, 0, drop, 0x0206)),  # 64-48
        *((_LOAD_HALF, 0, 0, 14), (_JUMP_GREATER, drop, 0, most_items)),
        (_TO_INDEX, 0, 0, 0),
    ]
    for item in range(most_items):
        at = 16 + 8 * item
        lines += [
            *((_FROM_INDEX, 0, 0, 0), (_JUMP_GREATER, 0, keep, item)),
            *((_LOAD_HALF, 0, 0, at), (_JUMP_EQUAL, 0, 4, 0x8002)),  # the length of the heap
            *((_LOAD_HALF, 0, 0, at + 2), (_JUMP_EQUAL, 0, drop, 0)),
            *((_LOAD_WORD, 0, 0, at + 4), (_JUMP_GREATER, drop, 0, largest_heap)),
        ]
    lines += [(_RETURN, 0, 0, 0xFFFFFFFF), (_RETURN, 0, 0, 0)]
    ends = {keep: len(lines) - 2, drop: len(lines) - 1}

    def skip(line: int, target: int | str) -> int:
        return ends[target] - line - 1 if isinstance(target, str) else target

    return b"".join(
        struct.pack("HBBI", code, skip(i, yes), skip(i, no), operand)
        for i, (code, yes, no, operand) in enumerate(lines)
    )
