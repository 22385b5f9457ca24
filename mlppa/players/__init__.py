"""The sending side of live inputs: what `mlppa replay` and tests play observations with.

A player is one class, and one line in the entry points group ``mlppa.players``: its name is
the scheme of its URIs, and the class takes such a URI. It sends at once what it is given:
the pace is that of the caller.
"""

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Protocol, cast

from ..data import Block, FilterbankHeader
from ..errors import ConfigError


class Player(Protocol):
    """Takes the blocks of one observation and sends them on."""

    def begin(self, header: FilterbankHeader) -> None:
        """Take the header, before the first block, and again for another observation."""

    def send(self, block: Block) -> None:
        """Send one block.

        Raises
        ------
        EnvironmentFault
            It cannot be sent.
        """

    def close(self) -> None:
        """Finish what is under way, and let go of everything."""


type Opener = Callable[[str], Player]


def open_player(uri: str) -> Player:
    """Open a player by its URI, such as ``spead://127.0.0.1:7148``.

    Raises
    ------
    ConfigError
        No player is installed for its scheme, or the URI cannot be read.
    EnvironmentFault
        The other end cannot be had.
    """
    installed = {point.name: point for point in entry_points(group="mlppa.players")}
    scheme, colon, _ = uri.partition(":")
    if not colon or scheme not in installed:
        kinds = ", ".join(f"{name}:" for name in sorted(installed)) or "none"
        remedy = f"give one like spead://127.0.0.1:7148; those installed begin with {kinds}"
        raise ConfigError(uri or "''", "nothing can be played there", remedy)
    return cast(Opener, installed[scheme].load())(uri)
