"""What is written: folders that can be used, and files that appear whole or not at all."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .errors import SinkError

#: What pictures are called: a name, never a path.
PICTURE_PATTERN = r"[A-Za-z0-9_.+-]{1,200}\.png"


def is_file(path: Path) -> bool:
    """Whether a file is there; a name that no file can have is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def read_picture(folder: Path, name: str) -> bytes:
    """Read a picture that others ask for by its name, and nothing else of a folder.

    Raises
    ------
    OSError
        Where there is none: any other name is none either.
    """
    if not re.fullmatch(PICTURE_PATTERN, name):
        raise FileNotFoundError(errno.ENOENT, "no name of a picture", name)
    return (folder / name).read_bytes()


def make_folder(path: Path) -> None:
    """Make a folder for results, if it is not there.

    Raises
    ------
    SinkError
        Where it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        known = {
            FileExistsError: "is a file, not a folder",
            NotADirectoryError: "a part of it is a file, not a folder",
        }
        cause = known.get(type(error), f"cannot be made ({error.strerror})")
        raise SinkError(path, cause, "choose another output folder") from error


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file that appears under its name only when it is whole and on the disk.

    Nothing is left of it when what writes it fails or is interrupted.

    Raises
    ------
    SinkError
        Where it cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise SinkError(path, *obstacle(path, error)) from error
    finally:
        with suppress(OSError):  # gone where all went well
            part.unlink()


def write_whole(path: Path, content: bytes) -> None:
    """Write all of a file at once; see `whole_file`."""
    with whole_file(path) as file:
        file.write(content)


def write_once(path: Path, content: bytes) -> None:
    """Write all of a file at once, unless it is there and the same; see `whole_file`."""
    try:
        known = path.read_bytes() == content
    except OSError:
        known = False
    if not known:
        write_whole(path, content)


def obstacle(path: Path, error: OSError) -> tuple[str, str]:
    """Tell why a file cannot be written, and what to do."""
    if isinstance(error, FileNotFoundError) and not path.parent.exists():
        return f"there is no folder {path.parent}", "make it, or choose another folder"
    if isinstance(error, NotADirectoryError):
        return f"{path.parent} is not a folder", "choose another folder"
    if isinstance(error, IsADirectoryError):
        return "is a folder", "move it away, or choose another folder"
    if error.errno == errno.ENOSPC:
        return "the disk is full", "make room, or choose another folder"
    return f"cannot be written ({error.strerror})", "choose a folder that can be written to"
