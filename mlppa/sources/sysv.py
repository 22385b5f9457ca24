"""System V shared memory and semaphores of Linux, as the C library has them."""

import ctypes
import errno
import os
import weakref
from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.shmat.restype = ctypes.c_void_p

#: From the headers of Linux, the same on all its machines.
_SEM_UNDO, _GETVAL = 0x1000, 12

#: A change of a semaphore: its number, by how much, and whether the system takes it back when
#: this process ends.
type Change = tuple[int, int, bool]


class _Operation(ctypes.Structure):
    """``struct sembuf``."""

    _fields_ = (
        ("number", ctypes.c_ushort),
        ("change", ctypes.c_short),
        ("flags", ctypes.c_short),
    )


class _Span(ctypes.Structure):
    """``struct timespec``."""

    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def _checked(result: int | None) -> int:
    """Give the result of a call, or raise what the system says is wrong."""
    if result is None or result in (-1, ctypes.c_void_p(-1).value):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _key(key: int) -> ctypes.c_int:
    """Give a key as the system takes it; with 0 it would make something new."""
    if not key:
        raise OSError(errno.ENOENT, "there is nothing with the key 0")
    return ctypes.c_int(key)


def is_larger(key: int, nbytes: int) -> bool:
    """Whether shared memory has more than so many bytes; `OSError` where there is none."""
    try:
        _checked(_LIBC.shmget(_key(key), ctypes.c_size_t(nbytes + 1), 0))
    except OSError as error:
        if error.errno == errno.EINVAL:
            return False
        raise
    return True


class Segment:
    """Shared memory that is there, as bytes for `numpy.asarray`.

    It stays in reach, also when others remove it, as long as an array of it does.

    Parameters
    ----------
    key
        Its name.
    nbytes
        How many of its bytes are wanted.

    Raises
    ------
    OSError
        ENOENT where it is not there, EINVAL where it is smaller, EACCES where it is not ours.
    """

    def __init__(self, key: int, nbytes: int) -> None:
        name = _checked(_LIBC.shmget(_key(key), ctypes.c_size_t(nbytes), 0))
        try:
            address = _checked(_LIBC.shmat(name, None, 0))
        except OSError as error:
            if error.errno == errno.EINVAL:  # removed since the line before
                raise OSError(errno.EIDRM, os.strerror(errno.EIDRM)) from error
            raise
        self.__array_interface__: dict[str, Any] = {
            "version": 3,
            "shape": (nbytes,),
            "typestr": "|u1",
            "data": (address, False),
        }
        letting_go = weakref.finalize(self, _LIBC.shmdt, ctypes.c_void_p(address))
        # At the end of the program a thread may still be reading.
        letting_go.atexit = False


class Semaphores:
    """A set of semaphores that is there.

    All its methods raise `OSError` when it is removed.
    """

    def __init__(self, key: int, count: int) -> None:
        self._id = _checked(_LIBC.semget(_key(key), count, 0))

    def value(self, number: int) -> int:
        """Give the value of one."""
        return _checked(_LIBC.semctl(self._id, number, _GETVAL))

    def change(self, *changes: Change, timeout_s: float = 0.0) -> bool:
        """Make all the changes, one after the other, at once or not at all.

        Parameters
        ----------
        changes
            No value gets below 0: that has to wait.
        timeout_s
            How long to wait.

        Returns
        -------
        done
            Whether they were made in this time.
        """
        operations = (_Operation * len(changes))(
            *(_Operation(number, by, _SEM_UNDO * undone) for number, by, undone in changes)
        )
        span = _Span(int(timeout_s), int(timeout_s % 1 * 1e9))
        count = ctypes.c_size_t(len(changes))
        try:
            _checked(_LIBC.semtimedop(self._id, operations, count, ctypes.byref(span)))
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EINTR):
                return False
            raise
        return True
