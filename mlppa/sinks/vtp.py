"""VOEvents to a broker, by the VOEvent Transport Protocol.

As an author does it (Swinbank et al. 2017, IVOA Recommendation VTP 2.0, arXiv:1709.01264):
a connection for each document, which goes behind its length in four bytes; the broker
answers in the same way, with an ``ack`` or a ``nak``.
"""

import logging
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from xml.etree import ElementTree

from ..errors import SinkError

logger = logging.getLogger(__name__)

#: How long a connection, or an answer, may take.
TIMEOUT_S = 5.0

#: Pauses between tries, in seconds; so there is one try more.
PAUSES_S = (1.0, 5.0, 25.0)

#: A longer answer is none.
LONGEST_ANSWER_BYTES = 1 << 16

_LENGTH = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class Broker:
    """Where documents are sent.

    Parameters
    ----------
    host, port
        Of the broker; authors are usually heard at port 8098.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"broker {self.host}:{self.port}"


class RefusedError(SinkError):
    """The broker has read a document and does not take it: another try is no use."""


def deliver(document: bytes, broker: Broker, pause: Callable[[float], None]) -> None:
    """Send a document, and again where that fails.

    Parameters
    ----------
    pause
        Waits for so many seconds.

    Raises
    ------
    SinkError
        Every try failed, or the broker refuses the document.
    """
    for pause_s in PAUSES_S:
        try:
            return send(document, broker)
        except RefusedError:
            raise
        except SinkError as error:
            logger.info("%s; next try in %g s", error, pause_s)
        pause(pause_s)
    send(document, broker)


def send(document: bytes, broker: Broker) -> None:
    """Send a document once, and wait for the answer.

    Raises
    ------
    RefusedError
        The broker says no.
    SinkError
        It cannot be reached, or does not answer as it should.
    """
    try:
        with socket.create_connection((broker.host, broker.port), TIMEOUT_S) as connection:
            connection.sendall(_LENGTH.pack(len(document)) + document)
            (length,) = _LENGTH.unpack(_received(connection, _LENGTH.size))
            if length > LONGEST_ANSWER_BYTES:
                raise _odd(broker, f"answers with {length} bytes")
            answer = _received(connection, length)
    except OSError as error:
        cause = f"cannot be reached ({error.strerror or error})"
        raise SinkError(broker, cause, "check its address, and the network") from error
    _check(answer, broker)


def _check(answer: bytes, broker: Broker) -> None:
    try:
        root = ElementTree.fromstring(answer)
    except ElementTree.ParseError as error:
        raise _odd(broker, f"does not answer with XML ({error})") from error
    role = root.get("role")
    if role == "nak":
        said = "".join(c for c in (root.findtext("Meta/Result") or "") if c.isprintable())[:200]
        cause = "refuses the document" + (f" ({said})" if said else "")
        raise RefusedError(broker, cause, "ask who runs it")
    if role != "ack":
        raise _odd(broker, "answers neither ack nor nak")


def _received(connection: socket.socket, nbytes: int) -> bytes:
    received = b""
    while len(received) < nbytes:
        chunk = connection.recv(nbytes - len(received))
        if not chunk:
            raise ConnectionError("it hung up")
        received += chunk
    return received


def _odd(broker: Broker, cause: str) -> SinkError:
    return SinkError(broker, cause, "check that a VOEvent broker hears authors there")
