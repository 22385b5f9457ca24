"""Where messages go.

A sink is one class, and one line in the entry points group ``mlppa.sinks``: its name
is the scheme of its URIs, and the class takes such a URI. The journal is no sink: it
comes before all of them (`publish`).
"""

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Protocol, cast

from ..errors import ConfigError
from ..wire import Message


class Sink(Protocol):
    """Takes numbered messages, one at a time, in the order of their numbers.

    A message may come twice, with the same ``seq``, when the program was killed
    between sending it and noting that. ``send`` raises SinkError when it could not
    take the message; it is called again for the next one. It must not wait long:
    the stream waits with it.
    """

    @property
    def name(self) -> str:
        """Short name, for the log and the metrics."""

    def send(self, message: Message) -> None:
        """Send or write one message."""

    def close(self) -> None:
        """Finish what is under way, within a second or two, and let go of everything."""


type Opener = Callable[[str], Sink]


def open_sink(uri: str) -> Sink:
    """Open a sink by its URI, such as ``tcp://127.0.0.1:5555``.

    Raises
    ------
    ConfigError
        No sink is installed for its scheme.
    EnvironmentFault
        It cannot be opened now: an address in use, a folder that is not there.
    """
    installed = {point.name: point for point in entry_points(group="mlppa.sinks")}
    scheme, colon, _ = uri.partition(":")
    if not colon or scheme not in installed:
        kinds = ", ".join(f"{name}:" for name in sorted(installed)) or "none"
        remedy = f"give one like tcp://127.0.0.1:5555; those installed begin with {kinds}"
        # options may hold what is secret
        raise ConfigError(uri.partition("?")[0] or "''", "there is no sink for it", remedy)
    return cast(Opener, installed[scheme].load())(uri)
