"""A writer of PSRDADA rings, for tests and for a laptop without PSRDADA.

It goes by the layout that the page on sources describes, in bytes from the beginning of the
shared memory, and shares nothing with the reader.
"""

import ctypes
import itertools
import os
import struct
import time
from typing import Self

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.shmat.restype = ctypes.c_void_p

CREATE, SETVAL, REMOVE = 0o3666, 16, 0
SODACK, EODACK, FULL, CLEAR, CONNECTED = range(5)
#: Where counters stand; those of transfers and readers are rows of eight.
NBUFS, BUFSZ, W_NEXT, W_CURR, W_STATE, W_XFER = 40, 48, 56, 64, 72, 80
N_READERS, S_BUF, S_BYTE, EOD, E_BUF, E_BYTE, DEVICE, SYNC_BYTES = (
    *(248, 256, 320, 384, 392, 456, 520, 528),
)
WRITING = 3
PATIENCE_S = 10.0

_lows = itertools.count(os.getpid() * 8, 2)


def checked(result: int) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


class Memory:
    """A piece of shared memory that is made here."""

    def __init__(self, key: int, nbytes: int) -> None:
        self.id = checked(_LIBC.shmget(key, ctypes.c_size_t(nbytes), CREATE))
        self.address = _LIBC.shmat(self.id, None, 0)

    def put(self, offset: int, raw: bytes) -> None:
        ctypes.memmove(self.address + offset, raw, len(raw))

    def set(self, offset: int, value: int, kind: str = "Q") -> None:
        self.put(offset, struct.pack(kind, value))

    def get(self, offset: int) -> int:
        return int(struct.unpack("Q", ctypes.string_at(self.address + offset, 8))[0])

    def remove(self) -> None:
        checked(_LIBC.shmctl(self.id, REMOVE, None))
        checked(_LIBC.shmdt(ctypes.c_void_p(self.address)))


class Set:
    """A set of semaphores that is made here."""

    def __init__(self, key: int, *values: int) -> None:
        self.id = checked(_LIBC.semget(key, len(values), CREATE))
        for number, value in enumerate(values):
            checked(_LIBC.semctl(self.id, number, SETVAL, value))

    def value(self, number: int) -> int:
        return checked(_LIBC.semctl(self.id, number, 12))

    def change(self, number: int, by: int) -> None:
        operation = struct.pack("Hhh", number, by, 0)
        span = struct.pack("ll", int(PATIENCE_S), 0)
        checked(_LIBC.semtimedop(self.id, operation, ctypes.c_size_t(1), span))

    def remove(self) -> None:
        checked(_LIBC.semctl(self.id, 0, REMOVE))


class Half:
    """The ring of the headers, or that of the data."""

    def __init__(self, key: int, nbufs: int, bufsz: int, readers: int) -> None:
        self.nbufs, self.bufsz, self.readers = nbufs, bufsz, readers
        self.made: list[Memory | Set] = []
        self.sync = Memory(key, SYNC_BYTES + 5 * nbufs)
        self.made.append(self.sync)
        keys = [key + 0x10000 * step for step in range(1, 10 + nbufs)]
        for offset, value in ((NBUFS, nbufs), (BUFSZ, bufsz), (N_READERS, readers)):
            self.sync.set(offset, value)
        self.sync.set(DEVICE, -1, "i")
        self.sync.put(EOD, b"\1" * 8)
        self.sync.put(0, struct.pack("9i", *keys[:9]))
        self.sync.put(SYNC_BYTES + nbufs, struct.pack(f"{nbufs}i", *keys[9:]))
        self.counts = [0] * nbufs
        self.slots = [Memory(key, bufsz) for key in keys[9:]]
        self.connection = Set(keys[0], 1, readers)
        self.sets = [Set(key, 8, 8, 0, 0, 1) for key in keys[1 : 1 + readers]]
        self.made += [*self.slots, self.connection, *self.sets]
        self.writing = False

    def all(self, number: int, by: int) -> None:
        for one in self.sets:
            one.change(number, by)

    def add(self, offset: int, by: int = 1) -> int:
        before = self.sync.get(offset)
        self.sync.set(offset, before + by)
        return before

    def begin(self, first_byte: int = 0) -> None:
        """Raise the start of data: the next buffer counts from a byte on."""
        self.all(SODACK, -1)
        row = self.sync.get(W_XFER) % 8 * 8
        self.sync.set(S_BUF + row, self.sync.get(W_CURR))
        self.sync.set(S_BYTE + row, first_byte)
        if self.sync.get(W_CURR) == 0:
            self.sync.set(EOD + row // 8, 0, "B")
        self.sync.set(W_STATE, WRITING, "i")
        self.writing = True

    def fill(self, raw: bytes, *, end: bool = False) -> None:
        """Write one buffer when it is clear; one that is not full ends the data."""
        if not self.writing:
            self.begin()
        slot = self.sync.get(W_NEXT) % self.nbufs
        while self.counts[slot]:
            self.all(CLEAR, -1)
            self.counts[slot] -= 1
        self.add(W_NEXT)
        self.slots[slot].put(0, raw)
        if end or len(raw) < self.bufsz:
            self.all(EODACK, -1)
            row = self.sync.get(W_XFER) % 8 * 8
            self.sync.set(E_BUF + row, self.sync.get(W_CURR))
            self.sync.set(E_BYTE + row, len(raw))
            self.sync.set(EOD + row // 8, 1, "B")
            self.add(W_XFER)
            self.sync.set(W_STATE, 0, "i")
            self.writing = False
        self.counts[slot] += 1
        self.add(W_CURR)
        self.all(FULL, 1)

    def remove(self) -> None:
        for one in self.made:
            one.remove()


class DadaRing:
    """A ring under a key of its own."""

    def __init__(
        self, *, key: int | None = None, nbufs: int = 4, bufsz: int = 4096, readers: int = 1
    ) -> None:
        # What a ring is made of lies at distances of 0x10000 above its key.
        self.key = key or 0x2000_0000 + next(_lows) % 0x10000 // 2 * 2
        self.uri = f"dada://{self.key:x}"
        self.data = Half(self.key, nbufs, bufsz, readers)
        self.headers = Half(self.key + 1, 8, 4096, readers)
        self._part = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def header(self, text: bytes) -> None:
        self.headers.fill(text.ljust(self.headers.bufsz, b"\0"))

    def write(self, raw: bytes) -> None:
        """Write data; what does not fill a buffer waits for more, or for the end."""
        self._part += raw
        while len(self._part) >= self.data.bufsz:
            raw, self._part = self._part[: self.data.bufsz], self._part[self.data.bufsz :]
            self.data.fill(raw)

    def end(self) -> None:
        """End the data, perhaps with a buffer without any."""
        self.data.fill(self._part, end=True)
        self._part = b""

    def wait_read(self) -> None:
        """Wait until the reader has all that was written."""
        deadline = time.monotonic() + PATIENCE_S
        while any(one.value(FULL) for one in (*self.data.sets, *self.headers.sets)):
            assert time.monotonic() < deadline, "nobody reads"
            time.sleep(0.005)

    def remove(self) -> None:
        self.data.remove()
        self.headers.remove()
