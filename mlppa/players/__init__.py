"""Where a replay goes: the sending ends of the live inputs.

A player is one class, and one line in the entry points group ``mlppa.players``: its name is
the scheme of its URIs, and the class takes such a URI.
"""

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Protocol, cast

from ..data import Block, FilterbankHeader
from ..errors import ConfigError


class Player(Protocol):
    """Takes the blocks of one observation and sends them on.

    Samples have the number type that `formats.heaps.sample_type` gives for the bits of the
    header. ``send`` must not wait long: the pace waits with it. It raises SinkError for a heap
    that it cannot take, which is lost then, and is called again for the next one.
    """

    def begin(self, header: FilterbankHeader) -> None:
        """Tell the header: before the first block, and again for another observation."""

    def send(self, block: Block) -> None:
        """Send one heap."""

    def close(self) -> None:
        """Finish what is under way, within some seconds, and let go of everything."""


type Opener = Callable[[str], Player]


def open_player(uri: str) -> Player:
    """Open a player by its URI, such as ``zmq://127.0.0.1:7150``.

    Raises
    ------
    ConfigError
        No player is installed for its scheme, or the URI is not one that it takes.
    EnvironmentFault
        It cannot be opened now.
    """
    installed = {point.name: point for point in entry_points(group="mlppa.players")}
    scheme, colon, _ = uri.partition(":")
    if not colon or scheme not in installed:
        kinds = ", ".join(f"{name}:" for name in sorted(installed)) or "none"
        remedy = f"give one like zmq://127.0.0.1:7150; those installed begin with {kinds}"
        raise ConfigError(uri or "''", "there is no player for it", remedy)
    return cast(Opener, installed[scheme].load())(uri)
