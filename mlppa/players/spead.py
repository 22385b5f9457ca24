"""Plays observations over SPEAD."""

import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import spead2
import spead2.send
from numpy.typing import NDArray

from ..data import Block, FilterbankHeader
from ..errors import EndpointError
from ..formats.heaps import HEADER_EVERY_S, pack_stream_header, sample_type
from ..formats.spead import (
    BEAM,
    CHANNEL,
    COUNTS,
    FLAVOUR,
    HEADER,
    LARGEST_HEAP,
    SPECTRA,
    TIMESTAMP,
    read_address,
)

#: Bytes of a packet on this machine, and where a network carries no more than 1500.
PACKET_HERE, PACKET = 8192, 1472

#: Bytes a second at which the packets of a heap follow each other: a heap that comes at once
#: is more than a receive buffer of the usual size takes.
RATE = 250_000_000

#: Bytes of spectra to a heap: the other items need room, too.
_MOST_BYTES = LARGEST_HEAP - 4096


class SpeadPlayer:
    """Sends every block as a heap, and the header in one of its own once a second.

    Parameters
    ----------
    uri
        ``spead://HOST:PORT?beam=0&interface=IP&packet=BYTES&rate=BYTES``: one machine, or a
        multicast group on an interface.

    Raises
    ------
    ConfigError
        The URI cannot be read.
    EndpointError
        The host is not known, or the interface is not of this machine.
    """

    def __init__(self, uri: str) -> None:
        address = read_address(uri, "beam", "interface", "packet", "rate")
        size = PACKET_HERE if address.loopback else PACKET
        self._uri = uri
        self._beam = address.number("beam", 0, 0, COUNTS - 1)
        packet = address.number("packet", size, 256, 65507)
        rate = address.number("rate", RATE, 1_000_000, 100_000_000_000)
        pool, to = spead2.ThreadPool(1), [(address.host, address.port)]
        config = spead2.send.StreamConfig(max_packet_size=packet, rate=rate)
        try:
            if address.interface:
                self._stream = spead2.send.UdpStream(
                    pool, to, config, ttl=1, interface_address=address.interface
                )
            else:
                self._stream = spead2.send.UdpStream(pool, to, config)
        except (OSError, RuntimeError) as error:
            raise self._fault(error) from error
        # Numbers of heaps that a receiver may still have in parts must not come again.
        self._stream.set_cnt_sequence(secrets.randbits(40), 1)
        self._header: FilterbankHeader | None = None
        self._told: FilterbankHeader | None = None
        self._told_s = 0.0

    def begin(self, header: FilterbankHeader) -> None:
        """Take the header; it goes out with the first block, whose number type it tells."""
        self._header = header
        self._told = None

    def send(self, block: Block) -> None:
        """Send a block; samples that are no signal are left out, and are a gap then.

        Raises
        ------
        EndpointError
            The network takes nothing.
        """
        if self._header is None:
            raise ValueError("begin comes before send")
        header = replace(self._header, nbits=_bits(block.spectra.dtype, self._header.nbits))
        for start, spectra in _runs(block, sample_type(header.nbits)):
            self._tell(header)
            self._send({TIMESTAMP: start % COUNTS, CHANNEL: 0}, SPECTRA, spectra.view(np.uint8))

    def close(self) -> None:
        """Nothing is under way: what was sent is gone."""

    def _tell(self, header: FilterbankHeader) -> None:
        """Send the header if it is news, or the last time is a second ago."""
        now = time.monotonic()
        if header == self._told and now - self._told_s < HEADER_EVERY_S:
            return
        self._told, self._told_s = header, now
        self._send({}, HEADER, np.frombuffer(pack_stream_header(header), np.uint8))

    def _send(self, numbers: dict[int, int], item: int, payload: NDArray[np.uint8]) -> None:
        heap = spead2.send.Heap(spead2.Flavour(*FLAVOUR))
        for number, value in {**numbers, BEAM: self._beam}.items():
            heap.add_item(spead2.Item(number, "", "", (), format=[("u", 48)], value=value))
        # a length that is not told beforehand keeps short ones out of the item pointers
        bytes_of = [("u", 8)]
        heap.add_item(spead2.Item(item, "", "", (None,), format=bytes_of, value=payload.ravel()))
        try:
            self._stream.send_heap(heap)
        except OSError as error:
            raise self._fault(error) from error

    def _fault(self, error: Exception) -> EndpointError:
        remedy = "name a host that can be reached from here, and an interface of this machine"
        return EndpointError(self._uri, f"cannot be sent to ({error})", remedy)


def _bits(kind: np.dtype[Any], nbits: int) -> int:
    """Tell as what samples travel: as they are, or as numbers of 32 bits."""
    if kind == np.uint8:
        return min(nbits, 8)
    return 16 if kind == np.uint16 else 32


def _runs(block: Block, kind: np.dtype[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Cut a block into runs of good samples, none too long for a heap."""
    valid = np.ones(len(block.spectra), np.bool_) if block.valid is None else block.valid
    edges = np.flatnonzero(np.diff(valid, prepend=False, append=False))
    step = max(1, _MOST_BYTES // (block.spectra.shape[1] * kind.itemsize))
    for first, last in edges.reshape(-1, 2).tolist():
        for begin in range(first, last, step):
            run = block.spectra[begin : min(begin + step, last)]
            yield block.start + begin, np.ascontiguousarray(run, kind)
