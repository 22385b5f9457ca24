"""Where messages go. A new sink is one class and one line in the entry points.

The journal is no sink: it comes before all of them (`publish`).
"""

from importlib.metadata import entry_points
from typing import Protocol, cast

from ..errors import ConfigError
from ..wire import Message

ENTRY_POINTS = "mlppa.sinks"


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


def open_sink(kind: str, **options: object) -> Sink:
    """Make a sink of an installed kind.

    Parameters
    ----------
    kind
        Name in the entry-point group ``mlppa.sinks``.
    options
        What its class takes.

    Raises
    ------
    ConfigError
        The kind is not installed, or takes other options.
    """
    kinds = entry_points(group=ENTRY_POINTS)
    if kind not in kinds.names:
        raise ConfigError(
            f"sink {kind!r}",
            "no such kind is installed",
            f"use one of: {', '.join(sorted(kinds.names))}",
        )
    try:
        return cast(Sink, kinds[kind].load()(**options))
    except TypeError as error:
        raise ConfigError(f"sink {kind!r}", str(error), "correct its options") from error
