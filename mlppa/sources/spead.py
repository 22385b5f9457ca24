"""Spectra over SPEAD, as telescopes' beamformers and correlators send them."""

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ..data import Block, FilterbankHeader
from ..errors import InputError
from ..formats.heaps import HEADER_EVERY_S, read_stream_header, sample_type
from ..formats.spead import BEAM, CHANNEL, COUNTS, HEADER, SPECTRA, TIMESTAMP, read_address
from ..metrics import HEAPS
from . import QUIET_S
from .heaps import Heap, Port
from .ordered import Anew, Sorter
from .udp import listen_udp

logger = logging.getLogger(__name__)

#: Receive buffer in bytes, and heaps that wait, unless the URI says otherwise.
BUFFER, RING = 32 << 20, 128

#: A piece may be late by so much, or by two heaps where these are longer.
LATE_S = 0.5

#: How long a header is waited for, where another one is known.
PATIENCE_S = 1.5 * HEADER_EVERY_S

#: Fields by which two headers are of different observations.
_TELLING = ("nchans", "fch1_mhz", "foff_mhz", "tsamp_s", "tstart_mjd", "nbits", "source_name")

#: Fields in which a header that was given must agree with that of the stream.
_AGREED = ("nchans", "fch1_mhz", "foff_mhz", "tsamp_s")


def open_spead(uris: Sequence[str], known: FilterbankHeader | None) -> "SpeadFeed":
    """Listen at ``spead://HOST:PORT?beam=0&interface=IP&buffer=BYTES&heaps=N``.

    Parameters
    ----------
    uris
        One URI. HOST is this machine by default; a multicast group is joined.
    known
        Header, where the stream tells none.

    Raises
    ------
    ConfigError
        The URI cannot be read.
    EndpointError
        The address is not of this machine, or in use.
    """
    address = read_address(uris[0], "beam", "interface", "buffer", "heaps")
    beam = address.number("beam", 0, 0, COUNTS - 1)
    ring = address.number("heaps", RING, 2, 1 << 20)
    listener = listen_udp(address, address.number("buffer", BUFFER, 1 << 12, 1 << 30))
    return SpeadFeed(Port(listener, ring), address.uri, beam, known)


class _Unfit(Exception):  # noqa: N818 - it never leaves this file
    """A heap that cannot be used: what it counts as, and why."""

    def __init__(self, fate: str, cause: str) -> None:
        super().__init__(cause)
        self.fate = fate


class SpeadFeed:
    """A SPEAD stream: one observation after the other.

    Parameters
    ----------
    port
        Where heaps come from.
    uri
        Its name in the log.
    beam
        Number of the beam that counts.
    known
        Header, where the stream tells none.
    """

    def __init__(self, port: Port, uri: str, beam: int, known: FilterbankHeader | None) -> None:
        self._port = port
        self._uri = uri
        self._beam = beam
        self._known = known
        self._heaps = port.heaps()
        self._told: set[str] = set()

    def observations(self) -> Iterator["SpeadSource"]:
        """Give a source when header or counter begin anew."""
        heaps: deque[Heap] = deque()
        header = self._first_header(heaps)
        pieces = [] if header is None else self._decoded(heaps, header)
        while header is not None and not self._port.closed:
            source = SpeadSource(self, header, pieces)
            yield source
            header, pieces = source.following

    def close(self) -> None:
        """Let the source at hand and `observations` end soon, from any thread."""
        self._port.close()

    def heaps(self) -> Iterator[Heap | FilterbankHeader | None]:
        """Give heaps of our beam, headers, and None when there was neither for a moment."""
        for heap in self._heaps:
            if heap is None:
                yield None
                continue
            try:
                self._check_beam(heap)
                if HEADER in heap.payloads:
                    yield read_stream_header(heap.payloads[HEADER].tobytes())
                else:
                    yield heap
            except _Unfit as unfit:
                self.leave_out(unfit)
                yield None
            except InputError as error:
                self.leave_out(_Unfit("malformed", str(error)))
                yield None

    def leave_out(self, unfit: _Unfit) -> None:
        """Count a heap that cannot be used, and tell the first of its kind."""
        HEAPS.labels(fate=unfit.fate).inc()
        if unfit.fate not in self._told:
            self._told.add(unfit.fate)
            logger.warning("%s: %s heaps are left out: %s", self._uri, unfit.fate, unfit)

    def believe(self, header: FilterbankHeader) -> FilterbankHeader:
        """Take the header of the stream; tell, once, where the one that was given differs."""
        if self._known is not None and (told := _differing(header, self._known, _AGREED)):
            logger.warning("%s: the stream is believed, not the header given: %s", self._uri, told)
        self._known = None
        return header

    def _check_beam(self, heap: Heap) -> None:
        if not {HEADER, SPECTRA} & heap.payloads.keys():
            raise _Unfit("foreign", f"no item 0x{SPECTRA:x} with spectra")
        beam = heap.numbers.get(BEAM, self._beam)
        if beam != self._beam:
            raise _Unfit("foreign", f"beam {beam}, not {self._beam}: ?beam={beam} takes that")
        channel = heap.numbers.get(CHANNEL, 0)
        if channel != 0:
            raise _Unfit("foreign", f"the first channel is {channel}: only whole bands are taken")

    def _first_header(self, kept: deque[Heap]) -> FilterbankHeader | None:
        """Wait for a header, and keep what comes before it; None says that it is over."""
        since_s: float | None = None
        for heap in self.heaps():
            if isinstance(heap, FilterbankHeader):
                return self.believe(heap)
            if heap is not None:
                kept.append(heap)
                since_s = since_s or heap.received_s
            if len(kept) > self._port.ring:
                kept.popleft()
                self.leave_out(_Unfit("foreign", "no header has come, and none is given"))
            waited = since_s is not None and time.monotonic() - since_s > PATIENCE_S
            if waited and self._known is not None:
                return self._known
        return None

    def _decoded(self, heaps: Sequence[Heap], header: FilterbankHeader) -> list[Block]:
        blocks: list[Block] = []
        for heap in heaps:
            try:
                blocks.append(_decode(heap, header, blocks[0].start if blocks else None))
            except _Unfit as unfit:
                self.leave_out(unfit)
        return blocks


class SpeadSource:
    """One observation: it ends where the counter or the header begin anew.

    Parameters
    ----------
    feed
        The stream that it is a part of.
    header
        What is known of it.
    first
        Pieces that came already, as their counter says.
    """

    live = True
    nsamples = None

    def __init__(self, feed: SpeadFeed, header: FilterbankHeader, first: Sequence[Block]) -> None:
        self.header = header
        #: Header and first pieces of the next one.
        self.following: tuple[FilterbankHeader, list[Block]] = (header, [])
        self._feed = feed
        self._first = first
        self._closed = False
        self._sorter: Sorter | None = None
        self._near: int | None = None
        self._came_s: float | None = None
        self._quiet_s = QUIET_S

    def blocks(self) -> Iterator[Block]:
        """Give the blocks in order; one without samples when the stream is quiet."""
        for piece in self._pieces():
            if piece is None:
                yield from self._silence()
                continue
            sorter = self._sorter or self._begin(piece)
            try:
                ready = sorter.put(piece)
            except Anew as anew:
                first = [replace(block, start=block.start % COUNTS) for block in anew.pieces]
                self.following = (self.header, first)
                break
            self._came_s = time.monotonic()
            yield from ready
        if self._sorter is not None:
            yield from self._sorter.flush()

    def close(self) -> None:
        """Let `blocks` end soon, from any thread."""
        self._closed = True

    def _pieces(self) -> Iterator[Block | None]:
        """Give pieces as they come, and None for each moment without one."""
        yield from self._first
        for heap in self._feed.heaps():
            if self._closed:
                return
            if isinstance(heap, FilterbankHeader):
                if told := _differing(heap, self.header, _TELLING):
                    logger.info("another observation begins: %s", told)
                    self.following = (self._feed.believe(heap), [])
                    return
                heap = None
            yield None if heap is None else self._decoded(heap)

    def _decoded(self, heap: Heap) -> Block | None:
        near = self._sorter.next_start if self._sorter else None
        try:
            return _decode(heap, self.header, self._near if near is None else near)
        except _Unfit as unfit:
            self._feed.leave_out(unfit)
            return None

    def _begin(self, piece: Block) -> Sorter:
        nsamples = len(piece.spectra)
        self._near = piece.start
        self._quiet_s = max(QUIET_S, 2 * nsamples * self.header.tsamp_s)
        self._sorter = Sorter(max(round(LATE_S / self.header.tsamp_s), 2 * nsamples))
        return self._sorter

    def _silence(self) -> Iterator[Block]:
        """Give what waits, and an empty block, once in every silence."""
        came_s, sorter = self._came_s, self._sorter
        if sorter is None or came_s is None or time.monotonic() - came_s < self._quiet_s:
            return
        self._came_s = None
        yield from sorter.flush()
        if sorter.next_start is not None:
            shape = (0, self.header.nchans)
            nothing = np.empty(shape, sample_type(self.header.nbits))
            yield Block(sorter.next_start, nothing, received_s=time.monotonic())


def _differing(one: FilterbankHeader, other: FilterbankHeader, names: Sequence[str]) -> str:
    """Tell in what the first header is not like the second."""
    return "; ".join(
        f"{name} is {mine}, not {theirs}"
        for name in names
        if (mine := getattr(one, name)) != (theirs := getattr(other, name))
    )


def _decode(heap: Heap, header: FilterbankHeader, near: int | None) -> Block:
    """Make a block of a heap; its counter is taken to be the one closest to ``near``."""
    if TIMESTAMP not in heap.numbers:
        raise _Unfit("malformed", f"no number in item 0x{TIMESTAMP:x}")
    kind = sample_type(header.nbits)
    payload = heap.payloads.get(SPECTRA, np.empty(0, np.uint8))
    if not len(payload) or len(payload) % (header.nchans * kind.itemsize):
        cause = f"{len(payload)} bytes are no whole spectra of {header.nchans} channels"
        raise _Unfit("malformed", f"{cause} and {8 * kind.itemsize} bits")
    spectra = payload.view(kind).reshape(-1, header.nchans)
    if not spectra.flags.aligned:
        spectra = spectra.copy()
    start = _unwrapped(heap.numbers[TIMESTAMP], near)
    return Block(start, spectra, received_s=heap.received_s)


def _unwrapped(counter: int, near: int | None) -> int:
    if near is None:
        return counter
    start = near + (counter - near + COUNTS // 2) % COUNTS - COUNTS // 2
    return start if start >= 0 else counter
