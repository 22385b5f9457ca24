"""The ring of PSRDADA in shared memory, seen by one of its readers.

What lies where was read from the public sources of PSRDADA (``ipcbuf.h``, ``ipcbuf.c``), and is
written down in the page on sources. A ring is one piece of shared memory with counters and
keys (`_Sync`, a flag for each buffer, the key of each buffer), a piece for each buffer, two
semaphores for the connection, and five for each reader. What is written between start and end of
data is a transfer; up to eight of them may be in the ring.
"""

import ctypes
import errno
import time

import numpy as np

from ..errors import EndpointError
from ..formats.bits import UInt8Array
from .sysv import Segment, Semaphores, is_larger

#: Transfers in the ring, and readers, at most.
XFERS, READERS = 8, 8

#: Semaphores of the connection.
_READ, _CONNECTION_SEMAPHORES = 1, 2
#: Semaphores of a reader.
_SODACK, _EODACK, _FULL, _CLEAR, _CONNECTED, _READER_SEMAPHORES = 0, 1, 2, 3, 4, 5

#: Longer than a writer takes from one count to the next.
_PAUSE_S = 0.02

_DISCONNECTED, _READING = 0, 6

_REMEDY = "make it with the dada_db of a PSRDADA since November 2018, in the memory of the host"


class _Sync(ctypes.Structure):
    """``ipcsync_t``: counters of the ring; what counts buffers and transfers never goes back."""

    _fields_ = (
        ("semkey_connect", ctypes.c_int),
        ("semkey_data", ctypes.c_int * READERS),
        ("nbufs", ctypes.c_uint64),
        ("bufsz", ctypes.c_uint64),
        ("w_buf_next", ctypes.c_uint64),
        ("w_buf_curr", ctypes.c_uint64),
        ("w_state", ctypes.c_int),
        ("w_xfer", ctypes.c_uint64),
        ("r_bufs", ctypes.c_uint64 * READERS),
        ("r_states", ctypes.c_int * READERS),
        ("r_xfers", ctypes.c_uint64 * READERS),
        ("n_readers", ctypes.c_uint),
        ("s_buf", ctypes.c_uint64 * XFERS),
        ("s_byte", ctypes.c_uint64 * XFERS),
        ("eod", ctypes.c_ubyte * XFERS),
        ("e_buf", ctypes.c_uint64 * XFERS),
        ("e_byte", ctypes.c_uint64 * XFERS),
        ("on_device_id", ctypes.c_int),
    )


def attach(uri: str, key: int) -> "Ring | None":
    """Connect to a ring; None where there is none yet.

    Raises
    ------
    EndpointError
        Where it is not ours to read, or something else than a ring.
    """
    try:
        return Ring(key)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EIDRM):
            return None
        if error.errno == errno.EINVAL:
            cause = f"at the key {key:x} is no ring that can be read: {error.strerror}"
            raise EndpointError(uri, cause, _REMEDY) from error
        cause = f"its shared memory is not to be had ({error.strerror})"
        raise EndpointError(uri, cause, "run both programs as the same user") from error


class Ring:
    """One ring. Its methods raise `OSError` when the ring is removed.

    Raises
    ------
    OSError
        ENOENT or EIDRM where it is not (wholly) there, EINVAL where it is no ring.
    """

    def __init__(self, key: int) -> None:
        size = ctypes.sizeof(_Sync)
        sync = self._sync = _Sync.from_buffer(np.asarray(Segment(key, size)))
        if not (sync.bufsz and sync.nbufs and sync.n_readers):
            raise OSError(errno.ENOENT, "it is being made")
        # There is no magic number: the size must be that of so many buffers, to the byte.
        size += sync.nbufs * 5
        if sync.nbufs > 1 << 20 or sync.n_readers > READERS or is_larger(key, size):
            raise OSError(errno.EINVAL, "another layout")
        raw = np.asarray(Segment(key, size))[-4 * sync.nbufs :]
        keys = np.frombuffer(raw.tobytes(), np.int32)
        self._buffers: list[UInt8Array] = [
            np.asarray(Segment(int(key), sync.bufsz)) for key in keys
        ]
        self._connection = Semaphores(sync.semkey_connect, _CONNECTION_SEMAPHORES)
        self._all = [
            Semaphores(sync.semkey_data[number], _READER_SEMAPHORES)
            for number in range(sync.n_readers)
        ]
        if sync.on_device_id >= 0:
            raise OSError(errno.EINVAL, "the memory of a GPU")
        self._me = -1
        #: Whether the next buffer was in the hand of a reader that died.
        self.held = False

    def lock(self) -> bool:
        """Take the place of a reader, if one is free: that which is furthest behind.

        What a reader had in hand when it died is there again.
        """
        if not self._connection.change((_READ, -1, True)):
            return False
        for number in sorted(range(len(self._all)), key=lambda one: self._sync.r_bufs[one]):
            if self._all[number].change((_CONNECTED, -1, True)):
                self._me = number
                self.held = self._holds()
                if self.held:
                    self._all[number].change((_FULL, 1, False))
                return True
        self._connection.change((_READ, 1, True))
        return False

    def leave(self) -> None:
        """Give the place to the next reader, who goes on where this one was, and let go.

        Without this, memory that others remove would stay until the last array of it is gone.
        """
        me, self._me = self._me, -1
        self._buffers = []
        if me >= 0:
            self._all[me].change((_CONNECTED, 1, True))
            self._connection.change((_READ, 1, True))

    @property
    def _mine(self) -> Semaphores:
        if self._me < 0:
            raise OSError(errno.EIDRM, "it was left")
        return self._all[self._me]

    def _holds(self) -> bool:
        """Whether the reader before died with a buffer in hand: one that counts as neither."""
        for _ in range(2):  # the writer changes first one count and then the other
            if not self.midway:
                return False
            if self._sync.w_buf_curr - self._sync.r_bufs[self._me] <= self.full:
                return False
            time.sleep(_PAUSE_S)
        return True

    @property
    def bufsz(self) -> int:
        """Bytes of a buffer."""
        return int(self._sync.bufsz)

    @property
    def full(self) -> int:
        """Count the buffers that wait to be read."""
        return self._mine.value(_FULL)

    @property
    def midway(self) -> bool:
        """Whether a transfer is read in part."""
        return bool(self._sync.r_states[self._me] != _DISCONNECTED)

    @property
    def transfers(self) -> tuple[int, bool]:
        """Count those begun, from the one that is read on; and whether the writer is in none."""
        idle = bool(self._sync.w_state == _DISCONNECTED)  # first: it changes last
        return int(self._sync.w_xfer - self._sync.r_xfers[self._me]) + (not idle), idle

    def wait(self, timeout_s: float) -> bool:
        """Wait for a full buffer, and leave it as it is."""
        there_and_back = (_FULL, -1, False), (_FULL, 1, False)
        return self._mine.change(*there_and_back, timeout_s=timeout_s)

    def _place(self) -> tuple[int, int, int, bool]:
        """Give the number of the full buffer, what of it is valid, and whether it is the last."""
        sync, me = self._sync, self._me
        xfer = sync.r_xfers[me] % XFERS
        number = sync.r_bufs[me] if self.midway else sync.s_buf[xfer]
        first = sync.s_byte[xfer] if number == sync.s_buf[xfer] else 0
        last = bool(sync.eod[xfer]) and number == sync.e_buf[xfer]
        return number, first, sync.e_byte[xfer] if last else sync.bufsz, last

    def peek(self) -> UInt8Array:
        """Give what is valid of the full buffer: it may be written to once it is cleared."""
        number, first, stop, _ = self._place()
        buffers = self._buffers
        if not buffers:
            raise OSError(errno.EIDRM, "it was left")
        return buffers[number % len(buffers)][first:stop]

    def tell(self) -> int:
        """Count the bytes of the transfer before the full buffer."""
        number, first, _, _ = self._place()
        xfer = self._sync.r_xfers[self._me] % XFERS
        begin = self._sync.s_buf[xfer] * self.bufsz + self._sync.s_byte[xfer]
        return int(number * self.bufsz + first - begin)

    def clear(self) -> bool:
        """Let the full buffer be written to again; True says that it was the last with data."""
        sync, me, mine = self._sync, self._me, self._mine
        number, _, _, last = self._place()
        changes = [(_FULL, -1, False), (_CLEAR, 1, False)]
        if not self.midway:
            changes.append((_SODACK, 1, False))
        # Counters first: with the last change the writer may reset them.
        sync.r_bufs[me] = number if last else number + 1
        sync.r_states[me] = _DISCONNECTED if last else _READING
        if last:
            sync.r_xfers[me] += 1
            changes.append((_EODACK, 1, False))
        mine.change(*changes)
        self.held = False
        return last

    def cleared(self) -> UInt8Array | None:
        """Give the buffer that was cleared last; None where it may be another one by now."""
        sync, me = self._sync, self._me
        behind = sync.r_bufs[me] - self.midway
        never = not self.midway and sync.r_xfers[me] == 0
        if never or sync.w_buf_next > behind + len(self._buffers):
            return None
        return self._buffers[int(behind) % len(self._buffers)]
