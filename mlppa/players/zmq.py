"""Heaps to a ZeroMQ input.

Messages are ``[b"hdr", header]``, the header as `formats.heaps` writes it, and
``[b"blk", {"start": …, "nsamples": …, "beam": …}, samples]``.
"""

import json
import time

import zmq

from ..data import Block, FilterbankHeader
from ..errors import SinkError
from ..formats.heaps import HEADER_EVERY_S, pack_stream_header
from ..sources.zmq import HEADER, SAMPLES, endpoint_of

#: Heaps that wait for a receiver that is slow, before some are lost.
QUEUE = 100

#: How long a receiver may take to connect, or to make room, before heaps are lost. After that
#: nothing waits for it until it takes one again.
PATIENCE_MS = 1000

#: How long the last heaps may take to leave.
LINGER_MS = 5000


class ZmqPlayer:
    """Pushes heaps to the ZeroMQ input at ``zmq://HOST:PORT``; it may come later, or go.

    TCP holds back a sender whose receiver is slow. A telescope cannot be held back: what
    does not fit into the queue is lost.

    Raises
    ------
    ConfigError
        The URI is not such an address.
    """

    def __init__(self, uri: str) -> None:
        self._endpoint, _ = endpoint_of(uri, bound=False, options=())
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUSH)
        self._socket.setsockopt(zmq.SNDHWM, QUEUE)
        self._socket.setsockopt(zmq.LINGER, LINGER_MS)
        # Else heaps for a receiver that is not there would count as sent.
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        self._socket.connect(self._endpoint)
        self._patience_ms = PATIENCE_MS
        self._header = b""
        self._beam = 0
        self._told_s = 0.0

    def begin(self, header: FilterbankHeader) -> None:
        """Tell the header; it is told again every second."""
        self._header, self._beam = pack_stream_header(header), header.beam
        self._tell_header()

    def send(self, block: Block) -> None:
        """Send one heap; SinkError says that nobody took it."""
        if time.monotonic() >= self._told_s + HEADER_EVERY_S:
            self._tell_header()
        place = {"start": block.start, "nsamples": len(block.spectra), "beam": self._beam}
        if not self._push([SAMPLES, json.dumps(place).encode(), block.spectra.tobytes()]):
            cause = "nobody takes what is sent there"
            raise SinkError(self._endpoint, cause, "start the receiver, or see why it is slow")

    def close(self) -> None:
        """Give the last heaps some seconds to leave."""
        self._socket.close()
        self._context.term()

    def _tell_header(self) -> None:
        if self._push([HEADER, self._header]):
            self._told_s = time.monotonic()

    def _push(self, frames: list[bytes]) -> bool:
        there = bool(self._socket.poll(self._patience_ms, zmq.POLLOUT))
        self._patience_ms = PATIENCE_MS if there else 0
        if there:
            self._socket.send_multipart(frames, zmq.NOBLOCK)
        return there
