"""Heaps that come over ZeroMQ: what `mlppa replay` sends, and any program that likes to.

There are two kinds of messages: ``[b"hdr", header]``, the header as `formats.heaps` reads
it, and ``[b"blk", place, samples]``. The place is a JSON object with ``start`` (index of the
first sample), ``nsamples`` and ``beam``; the samples are little-endian, channels fastest.
"""

import errno
import logging
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import zmq
from pydantic_core import from_json

from ..data import Block, FilterbankHeader
from ..errors import ConfigError, EndpointError, InputError
from ..formats.heaps import LONGEST_HEADER, read_stream_header, sample_type
from ..metrics import HEAPS
from ..wire.address import address_fault
from . import QUIET_S, Source, split_options
from .ordered import Anew, Sorter

logger = logging.getLogger(__name__)

HEADER, SAMPLES = b"hdr", b"blk"

#: A larger message ends the connection of who sent it.
LONGEST_MESSAGE_BYTES = 1 << 26

#: Messages that wait to be read; more wait at the sender.
QUEUE = 100

#: How far a heap may be behind the newest one and still find its place, in seconds.
WINDOW_S = 0.5

#: No sample index is as high: at a sample a nanosecond it would take a century.
END = 1 << 62

#: How soon a wait notices that the input was closed.
NAP_MS = 100

_REMEDY = "give one like zmq://127.0.0.1:7150"
_REMEDIES = {
    zmq.EADDRINUSE: "end the program that uses it, or take another port",
    zmq.EADDRNOTAVAIL: "name an address of this machine, or zmq://*:PORT for all of them",
    errno.ENODEV: "name an address of this machine, or zmq://*:PORT for all of them",
    errno.EACCES: "take a port above 1023",
}

type Item = Block | FilterbankHeader | None


def endpoint_of(uri: str, *, bound: bool, options: Collection[str]) -> tuple[str, dict[str, str]]:
    """Give the ZeroMQ address of ``zmq://HOST:PORT``, and the options behind it.

    Without a host it is this machine, and nobody else is heard.

    Raises
    ------
    ConfigError
        Where it is none, or has options that are not among those named.
    """
    place, given = split_options(uri)
    rest = place.removeprefix("zmq://")
    address = f"tcp://{'127.0.0.1' if rest.startswith(':') else ''}{rest}"
    if fault := address_fault(address, bound=bound):
        raise ConfigError(uri, fault.replace("tcp://", "zmq://").split(" (")[0], _REMEDY)
    if unknown := given.keys() - set(options):
        raise ConfigError(uri, f"unknown option {', '.join(sorted(unknown))}", "leave it out")
    return address, given


class ZmqFeed:
    """A PULL socket as a live input.

    An observation begins with the first heap after a header that differs from the one
    before, or when the sample index was set back. Messages that are not right are left out,
    counted, and told about once.

    Parameters
    ----------
    uri
        ``zmq://HOST:PORT?beam=N``. Without a beam it is that of the first header.
    known
        The header, as long as the stream has not told one.

    Raises
    ------
    ConfigError
        Where the URI is not such an address.
    EndpointError
        Where the address cannot be had.
    """

    def __init__(self, uri: str, known: FilterbankHeader | None = None) -> None:
        address, options = endpoint_of(uri, bound=True, options=("beam",))
        self._beam = _beam(uri, options.get("beam"))
        self._header: FilterbankHeader | None = None
        self._pieces: list[Block] = []
        self._told: set[str] = set()
        self._busy = self._closed = False
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PULL)
        self._open = [self._socket]
        self._socket.setsockopt(zmq.RCVHWM, QUEUE)
        self._socket.setsockopt(zmq.MAXMSGSIZE, LONGEST_MESSAGE_BYTES)
        self._socket.setsockopt(zmq.LINGER, 0)
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            self._release()
            cause = f"cannot be bound ({zmq.strerror(error.errno or 0)})"
            raise EndpointError(uri, cause, _REMEDIES.get(error.errno or 0, _REMEDY)) from error
        #: Where it is to be reached, with the true port.
        self.uri = self._socket.getsockopt_string(zmq.LAST_ENDPOINT).replace("tcp", "zmq", 1)
        if known is not None:
            self._begin(known)

    def observations(self) -> Iterator[Source]:
        """Give a source when an observation begins, until the feed is closed."""
        while not self._closed:
            item = None if self._pieces else self._receive()
            if isinstance(item, FilterbankHeader):
                self._begin(item)
            elif item is not None:
                self._pieces = [item]
            if self._pieces and self._header is not None:
                yield Observation(self._header, self)

    def close(self) -> None:
        """End within a tenth of a second, from any thread."""
        self._closed = True
        if not self._busy:
            self._release()

    def blocks(self, observation: "Observation") -> Iterator[Block]:
        """Give the blocks of the observation at hand, up to its end."""
        header = observation.header
        sorter = Sorter(max(1, round(WINDOW_S / header.tsamp_s)))
        pieces, self._pieces = self._pieces, []
        for piece in pieces:
            yield from sorter.put(piece)
        heard_s, is_quiet = time.monotonic(), False
        while not (self._closed or observation.closed):
            item = self._receive()
            if isinstance(item, FilterbankHeader):
                self._begin(item)
                break
            if item is not None:
                try:
                    yield from sorter.put(item)
                except Anew as anew:
                    self._pieces = list(anew.pieces)
                    break
                heard_s, is_quiet = time.monotonic(), False
            elif not is_quiet and time.monotonic() - heard_s > QUIET_S:
                is_quiet = True
                yield from sorter.flush()
                nothing = np.empty((0, header.nchans), sample_type(header.nbits))
                yield Block(sorter.next_start or 0, nothing, received_s=time.monotonic())
        yield from sorter.flush()

    def _begin(self, header: FilterbankHeader) -> None:
        self._header = header
        if self._beam is None:
            self._beam = header.beam

    def _receive(self) -> Item:
        """Wait a moment for a message; give what is new in it, if anything is."""
        # A socket must not be closed while another thread is inside of it. Whoever comes
        # later, this or `close`, sees the mark of the other.
        self._busy = True
        try:
            if self._closed or not self._socket.poll(NAP_MS):
                return None
            frames = self._socket.recv_multipart()
        finally:
            self._busy = False
            if self._closed:
                self._release()
        try:
            return self._read(frames)
        except InputError as error:
            self._leave_out("malformed", str(error))
        return None

    def _read(self, frames: Sequence[bytes]) -> Item:
        match frames:
            case [kind, text] if kind == HEADER:
                header = read_stream_header(text)
                if self._is_foreign(header.beam) or header == self._header:
                    return None
                return header
            case [kind, text, samples] if kind == SAMPLES:
                start, nsamples, beam = _place(text)
                if self._header is None:
                    self._leave_out("stray", "heaps before any header")
                    return None
                if self._is_foreign(beam):
                    return None
                return _block(self._header, start, nsamples, samples)
        sizes = ", ".join(str(len(frame)) for frame in frames[:5])
        raise InputError("message", f"{len(frames)} frames of {sizes} … bytes", "send hdr or blk")

    def _is_foreign(self, beam: int) -> bool:
        if self._beam in (None, beam):
            return False
        self._leave_out("foreign", f"beam {beam} at the input of beam {self._beam}")
        return True

    def _leave_out(self, fate: str, cause: str) -> None:
        HEAPS.labels(fate=fate).inc()
        if fate not in self._told:
            self._told.add(fate)
            logger.warning("%s: %s; left out, as will be all that is %s", self.uri, cause, fate)

    def _release(self) -> None:
        while self._open:
            with suppress(IndexError):  # another thread does it just now
                self._open.pop().close()
                self._context.term()


@dataclass
class Observation:
    """One observation of a feed: a live `Source`."""

    header: FilterbankHeader
    feed: ZmqFeed
    closed: bool = field(default=False, init=False)

    live = True
    nsamples = None

    def blocks(self) -> Iterator[Block]:
        """Give what comes, in order."""
        return self.feed.blocks(self)

    def close(self) -> None:
        """Let `blocks` end within a tenth of a second."""
        self.closed = True


def open_zmq(uris: Sequence[str], known: FilterbankHeader | None) -> ZmqFeed:
    """Open the live input at one ``zmq://HOST:PORT?beam=N``; errors are those of `ZmqFeed`."""
    (uri,) = uris
    return ZmqFeed(uri, known)


def _beam(uri: str, text: str | None) -> int | None:
    if text is not None and not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ConfigError(uri, f"beam={text}", "give the number of the beam, such as ?beam=0")
    return None if text is None else int(text)


def _place(text: bytes) -> tuple[int, int, int]:
    """Read where a heap belongs: its start, its length and its beam."""
    remedy = 'send {"start": 0, "nsamples": 1, "beam": 0}'
    try:
        said = from_json(text[:LONGEST_HEADER])
    except ValueError as error:
        raise InputError("place of a heap", f"not JSON ({error})", remedy) from error
    numbers = [said.get(key) if isinstance(said, dict) else None for key in _KEYS]
    for key, number in zip(_KEYS, numbers, strict=True):
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < END:
            raise InputError("place of a heap", f"{key} is {number!r:.60}", remedy)
    start, nsamples, beam = (int(number or 0) for number in numbers)
    return start, nsamples, beam


_KEYS = ("start", "nsamples", "beam")


def _block(header: FilterbankHeader, start: int, nsamples: int, samples: bytes) -> Block:
    """Make a block of a heap whose size is right; whoever receives it owns it."""
    dtype = sample_type(header.nbits)
    if not nsamples or len(samples) != nsamples * header.nchans * dtype.itemsize:
        cause = f"{len(samples)} bytes for {nsamples} samples of {header.nchans} channels"
        raise InputError(
            "heap", f"{cause} of {dtype.itemsize * 8} bits", "send what its header says"
        )
    spectra = np.frombuffer(samples, dtype).reshape(nsamples, header.nchans).copy()
    return Block(start, spectra, received_s=time.monotonic())
