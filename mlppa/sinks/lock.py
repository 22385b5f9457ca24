"""One writer to a file."""

import fcntl
from pathlib import Path
from typing import IO

from ..errors import SinkError


def lock(path: Path, kind: str = "journal") -> IO[str]:
    """Let no other process write to a file until what is returned is closed.

    Parameters
    ----------
    kind
        What the error calls the file.

    Raises
    ------
    SinkError
        Another process does, or there can be no lock.
    """
    # A lock of the kernel's: it goes with its process, however that ends.
    side = path.with_name(f"{path.name}.lock")
    try:
        file = side.open("a")
    except OSError as error:
        remedy = "choose a folder that is there and can be written to"
        raise SinkError(path, str(error.strerror), remedy) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise SinkError(
            path, f"another process writes to this {kind}", "end that one, or name another file"
        ) from error
    return file
