"""PSRDADA: observations out of a ring in shared memory, one after the other."""

import logging
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Block, FilterbankHeader
from ..errors import ConfigError, EndpointError, InputError
from ..formats.bits import UInt8Array, unpack_bits
from ..formats.dada import DadaHeader, read_dada_header
from ..formats.heaps import sample_type
from ..metrics import BAD_HEADERS
from . import QUIET_S
from .ring import Ring, attach

logger = logging.getLogger(__name__)

#: How long a wait lasts before it is looked whether it is still wanted.
STEP_S = 0.05

#: Keys of the system are positive numbers of 32 bits here; that of the headers is one more.
LAST_KEY = 0x7FFFFFFF

_URI = re.compile(r"dada:(?://)?(?:0x)?([0-9a-f]{0,8})/?", re.IGNORECASE)


def open_dada(uris: Sequence[str], known: FilterbankHeader | None = None) -> "DadaFeed":
    """Open a ring of PSRDADA, now or when it is made.

    Parameters
    ----------
    uris
        ``dada://KEY``, with the key of the data in hexadecimal digits; by default dada.
    known
        Not used: the ring tells the header of every observation.

    Raises
    ------
    ConfigError
        Where the key is none.
    EndpointError
        On another system than Linux.
    """
    (uri,) = uris
    found = _URI.fullmatch(uri)
    if found is None or not 0 < (key := int(found[1] or "dada", 16)) < LAST_KEY:
        remedy = "give the key of dada_db as dada://KEY, such as dada://dada"
        raise ConfigError(uri, "has no key of hexadecimal digits", remedy)
    if sys.platform != "linux":
        raise EndpointError(uri, "PSRDADA can be read on Linux only", "run this beside the ring")
    return DadaFeed(uri, key)


@dataclass(slots=True)
class Transfer:
    """One header and the data that go with it.

    The header counts as read when the first data are: whoever stops in between finds both, and
    headers never get out of step with data. Its methods raise `OSError` when a ring is removed.

    Parameters
    ----------
    uri
        For messages.
    headers, data
        The two rings, locked.
    begun
        Whether the header counts as read, by who had the place before.
    """

    uri: str
    headers: Ring
    data: Ring
    begun: bool
    ended: bool = False
    warned: bool = False

    def wait(self) -> bool:
        """Wait a moment for data of this header.

        A recorder that dies leaves a header without data, or data without an end. The count
        of both tells, else every header from there on would go with the wrong data.
        """
        came = self.data.wait(STEP_S)
        waiting = self.headers.full  # first: a header comes before its data
        transfers, idle = self.data.transfers
        if waiting <= transfers - self.begun + idle:
            return came
        if not self.begun:
            logger.warning("%s: a header without data is left out for the next one", self.uri)
            self.headers.clear()
            self.ended = True
            return False
        if not self.warned:
            logger.warning(
                "%s: a header came before the end of the data: what comes may be in disorder; "
                "make the ring again when a recorder has died",
                self.uri,
            )
            self.warned = True
        return came

    def take(self, rest: UInt8Array) -> UInt8Array:
        """Give what was left and the next data behind it, copied, so that the writer can go on."""
        raw = np.concatenate([rest, self.data.peek()])
        self.skip()
        return raw

    def skip(self) -> None:
        """Leave the next data out."""
        if not self.begun:
            self.headers.clear()
            self.begun = True
        self.ended = self.data.clear()


class Observation:
    """One observation of a ring, a `Source`."""

    live = True
    nsamples = None

    def __init__(
        self, transfer: Transfer, header: DadaHeader, offset: int, closed: Callable[[], bool]
    ) -> None:
        self.header = header.stream
        self._transfer = transfer
        self._bytes = header.bytes_per_spectrum
        self._start = -(-offset // self._bytes)
        #: Bytes of a spectrum that began before the data did.
        self._ahead = self._start * self._bytes - offset
        self._rest: UInt8Array = np.empty(0, np.uint8)
        buffer_s = transfer.data.bufsz / self._bytes * self.header.tsamp_s
        self._quiet_s = max(QUIET_S, 2 * buffer_s)
        self._closed = False
        self._feed_closed = closed

    def blocks(self) -> Iterator[Block]:
        """Give the spectra of each buffer as it is filled."""
        came_s = None
        while not (self._closed or self._feed_closed() or self._transfer.ended):
            try:
                raw = self._transfer.take(self._rest) if self._transfer.wait() else None
            except OSError:  # whoever asks for the next observation is told
                return
            now_s = time.monotonic()
            if raw is not None:
                spectra = self._whole(raw)
                came_s = now_s
                if len(spectra):
                    yield Block(self._start, spectra, received_s=now_s)
                    self._start += len(spectra)
            elif came_s is not None and now_s - came_s >= self._quiet_s:
                came_s = None
                yield Block(self._start, self._whole(self._rest), received_s=now_s)
        if self._transfer.ended and len(self._rest):
            logger.warning(
                "%s: %d bytes behind the last whole spectrum are left out",
                self._transfer.uri,
                len(self._rest),
            )

    def _whole(self, raw: UInt8Array) -> NDArray[Any]:
        """Give the whole spectra, shape (nsamples, nchans), and keep what is left."""
        ahead = min(self._ahead, len(raw))
        self._ahead -= ahead
        stop = ahead + (len(raw) - ahead) // self._bytes * self._bytes
        self._rest = raw[stop:].copy()
        nbits, whole = self.header.nbits, raw[ahead:stop]
        if ahead:
            whole = whole.copy()  # to where a number of more than a byte may stand
        samples = unpack_bits(whole, nbits) if nbits < 8 else whole.view(sample_type(nbits))
        return samples.reshape(-1, self.header.nchans)

    def close(self) -> None:
        """Let `blocks` end within a moment; what the ring has is left to the feed."""
        self._closed = True


class DadaFeed:
    """Observations of a ring. It may be made, removed and made again meanwhile.

    Parameters
    ----------
    uri
        For messages.
    key
        Of the data; that of the headers is one more.
    """

    def __init__(self, uri: str, key: int) -> None:
        self._uri = uri
        self._key = key
        self._closed = False

    def observations(self) -> Iterator[Observation]:
        """Give an observation when its header is there.

        Raises
        ------
        EndpointError
            Where what is at the key is no ring that can be read.
        """
        while (rings := self._connected()) is not None:
            headers, data = rings
            try:
                yield from self._served(headers, data)
            except OSError:
                logger.warning("%s: the ring is gone", self._uri)
            finally:
                for ring in rings:
                    with suppress(OSError):
                        ring.leave()

    def close(self) -> None:
        """Let everything end within a moment, from any thread; the ring keeps what is unread."""
        self._closed = True

    def _connected(self) -> tuple[Ring, Ring] | None:
        """Wait for the rings and a place in them; None says that nobody wants them any more."""
        told = ""
        while not self._closed:
            state = "there is no ring (yet): waits for dada_db"
            headers, data = attach(self._uri, self._key + 1), attach(self._uri, self._key)
            if headers is not None and data is not None:
                state = "all places for readers are taken: waits"
                with suppress(OSError):
                    if _locked(headers, data):
                        logger.info("%s: connected", self._uri)
                        return headers, data
            if state != told:
                logger.warning("%s: %s", self._uri, state)
                told = state
            time.sleep(STEP_S)
        return None

    def _served(self, headers: Ring, data: Ring) -> Iterator[Observation]:
        while not self._closed:
            begun = data.midway and not headers.held
            text = headers.cleared() if begun else None
            if not begun:
                if not headers.wait(STEP_S):
                    continue
                text = headers.peek()
                if not len(text):  # the end of a transfer of headers
                    headers.clear()
                    continue
            transfer = Transfer(self._uri, headers, data, begun)
            source = self._opened(transfer, text)
            if source is not None:
                yield source
            self._skip_rest(transfer)

    def _opened(self, transfer: Transfer, text: UInt8Array | None) -> Observation | None:
        """Make an observation; None where its header is refused."""
        try:
            if text is None:
                raise InputError("header", "it has been overwritten", "wait for the next")
            header = read_dada_header(text.tobytes())
        except InputError as error:
            BAD_HEADERS.inc()
            logger.error("%s: an observation is left out: %s", self._uri, error)
            return None
        read = transfer.data.tell()
        if read:
            logger.warning("%s: takes up an observation %d bytes on", self._uri, read)
        return Observation(transfer, header, header.offset_bytes + read, lambda: self._closed)

    def _skip_rest(self, transfer: Transfer) -> None:
        """Go to the end of the data, where nobody read so far."""
        nbytes = 0
        while not (self._closed or transfer.ended):
            if transfer.wait():
                nbytes += len(transfer.data.peek())
                transfer.skip()
        if nbytes:
            logger.warning("%s: %d bytes of an observation were left out", self._uri, nbytes)


def _locked(headers: Ring, data: Ring) -> bool:
    """Take a place in both rings, or in none."""
    if not headers.lock():
        return False
    if data.lock():
        return True
    headers.leave()
    return False
