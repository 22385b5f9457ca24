"""What SPEAD senders and receivers agree on: the items of a heap, and addresses."""

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from ..errors import ConfigError, EndpointError

#: Version, bits of an item pointer, bits of a heap address: SPEAD-64-48.
FLAVOUR = (4, 64, 48)

#: Index of the first sample, modulo `COUNTS`.
TIMESTAMP = 0x1600
#: Index of the first channel: 0.
CHANNEL = 0x4103
#: Number of the beam.
BEAM = 0x5002
#: Spectra in C order, (nsamples, nchans).
SPECTRA = 0x5000
#: The header as text, in a heap of its own.
HEADER = 0x5100

#: Where the timestamp begins anew.
COUNTS = 1 << 48

#: Heaps that say they are longer are refused unread.
LARGEST_HEAP = 1 << 26

#: Who gives no host means this machine.
LOOPBACK = "127.0.0.1"

_LIKE = "give one like spead://127.0.0.1:7148"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a stream goes, taken apart.

    Parameters
    ----------
    uri
        As it was given.
    host, port
        IPv4 address and UDP port.
    options
        What stands behind the question mark.
    """

    uri: str
    host: str
    port: int
    options: dict[str, str]

    @property
    def multicast(self) -> bool:
        """Whether it is a group of machines."""
        return ipaddress.IPv4Address(self.host).is_multicast

    @property
    def loopback(self) -> bool:
        """Whether nothing leaves this machine."""
        return ipaddress.IPv4Address(self.host).is_loopback

    @property
    def interface(self) -> str:
        """Address of the interface of a group; empty where the system may choose."""
        return self.options.get("interface", "")

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """Read an option that is a whole number.

        Raises
        ------
        ConfigError
            Where it is none, or out of bounds.
        """
        text = self.options.get(name, str(default))
        # longer ones may be numbers, but none that could be meant
        if not (text.isascii() and text.isdigit() and len(text) < 16 and low <= int(text) <= high):
            remedy = f"give a whole number from {low} to {high}"
            raise ConfigError(self.uri, f"{name} is {text!r}", remedy)
        return int(text)


def read_address(uri: str, *known: str) -> Address:
    """Take ``spead://HOST:PORT?name=value`` apart; without a host it is this machine.

    Parameters
    ----------
    known
        Names of the options that there are.

    Raises
    ------
    ConfigError
        Where it cannot be read.
    EndpointError
        Where the host is not known.
    """
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname or LOOPBACK, parts.port
    except ValueError as error:
        raise ConfigError(uri, f"is no address ({error})", _LIKE) from error
    if not port or parts.path or parts.username is not None:
        raise ConfigError(uri, "is no address of the form spead://HOST:PORT", _LIKE)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(options.keys() - set(known)):
        known_ones = f"leave it out; there are {', '.join(known)}"
        raise ConfigError(uri, f"unknown option {', '.join(unknown)}", known_ones)
    address = Address(uri, _resolve(uri, host), port, options)
    _check_interface(address)
    return address


def _resolve(uri: str, host: str) -> str:
    try:
        found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        cause = f"the host {host} is not known ({error})"
        raise EndpointError(uri, cause, "give an IPv4 address, or a name of one") from error
    return str(found[0][4][0])


def _check_interface(address: Address) -> None:
    if "interface" not in address.options:
        return
    if not address.multicast:
        cause = f"interface is for multicast groups, and {address.host} is none"
        raise ConfigError(address.uri, cause, "leave interface out")
    try:
        ipaddress.IPv4Address(address.interface)
    except ValueError as error:
        remedy = "give the IPv4 address of an interface of this machine"
        raise ConfigError(address.uri, f"interface is {address.interface!r}", remedy) from error
