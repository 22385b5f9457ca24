"""A sink that keeps what it gets: for tests and notebooks."""

from ..wire import Message


class MemorySink:
    """Keeps every message in `messages`, in the order of sending."""

    name = "memory"

    def __init__(self, uri: str = "memory:") -> None:
        self.uri = uri
        self.messages: list[Message] = []

    def send(self, message: Message) -> None:
        """Keep one message."""
        self.messages.append(message)

    def close(self) -> None:
        """Do nothing: what was kept stays."""
