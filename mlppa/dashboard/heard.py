"""What a source of messages gives, and what every source is."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol

from ..wire import DetectionMessage, Message

#: Messages of before that are shown, and the most that are read at a time.
HISTORY = 3000


@dataclass(frozen=True, slots=True)
class Said:
    """A message, and when it came, in seconds since 1970 by the clock of this machine.

    It is ``wired`` if it came over the wire: who sends it is alive.
    """

    message: Message
    at_s: float
    wired: bool = False


@dataclass(frozen=True, slots=True)
class Remembered:
    """Pulses of long ago, of one stream, by time."""

    pulses: tuple[DetectionMessage, ...]


@dataclass(frozen=True, slots=True)
class Anew:
    """A stream begins anew, or is gone: what was known of it holds no more."""

    stream: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a thing cannot be read; ``why`` is empty when that is over."""

    thing: str
    why: str


type Heard = Said | Remembered | Anew | Fault


class Followed(Protocol):
    """A source of messages."""

    label: str

    def heard(self) -> Generator[Heard | None]:
        """Give what comes, until `close`; now and then None, where nothing does."""

    def picture(self, name: str) -> bytes | None:
        """Give a picture of a detection; None where there is none, or not yet."""

    def close(self) -> None:
        """Let `heard` end soon, from any thread."""
