"""A folder of detections: their data to look at again, within a budget of the disk."""

import io
import logging
import os
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data import Detection, FilterbankHeader, Picture
from ..disk import make_folder, obstacle, write_once, write_whole
from ..errors import FormatError, InputError, MlppaError, SinkError
from ..wire import DetectionMessage, Message, encode, read
from .behind import Behind
from .uris import Options

if TYPE_CHECKING:
    import h5py

logger = logging.getLogger(__name__)

#: What a cut-out is, and the version of its layout.
CUTOUT = "mlppa.cutout/1"

GIB = 1 << 30
DEFAULT_BUDGET_GIB = 10.0

#: Younger files stay, whatever the budget; so it is looked at no more often than that.
GRACE_S = 60.0

#: How long the last look at the budget may take when the sink is closed.
PATIENCE_S = 1.0

#: The files of a detection, and what a kill leaves of one. Others are never touched.
_OURS = re.compile(
    r"\.?[A-Za-z0-9_.-]{1,64}-b-?\d+-\d+\.\d{9}-dm-?\d+\.\d\d(-r\d+)?\.(png|h5|json)(\.part)?"
)

#: Units of what a cut-out holds: noise is the standard deviation of its own noise.
_UNITS = {
    "waterfall": "noise",
    "profile": "noise",
    "zero_dm": "noise",
    "image": "noise",
    "time_ms": "ms",
    "freqs_mhz": "MHz",
    "image_time_ms": "ms",
    "image_dm": "pc cm^-3",
}
_AXES = {
    "waterfall": ("freqs_mhz", "time_ms"),
    "profile": ("time_ms",),
    "zero_dm": ("time_ms",),
    "image": ("image_dm", "image_time_ms"),
}


def open_folder(uri: str) -> "FolderSink":
    """Open ``folder:PATH?budget_gib=10``.

    Raises
    ------
    ConfigError
        An option is wrong.
    SinkError
        The folder cannot be made or written to.
    """
    options = Options(uri)
    budget_gib = options.number("budget_gib", most=1e9) or DEFAULT_BUDGET_GIB
    options.end()
    return FolderSink(Path(options.path), budget_gib * GIB)


class FolderSink:
    """Writes ``ID.json`` for every detection, and keeps a folder within its budget.

    What counts are the files of detections in it, whoever wrote them: ``ID.png``,
    ``ID.h5``, ``ID.json``. The oldest are removed when they take more, but none that is
    younger than `GRACE_S`.

    Parameters
    ----------
    path
        The folder; made when it is not there.
    budget_bytes
        What its detections may take.

    Raises
    ------
    SinkError
        The folder cannot be made or written to.
    """

    name = "folder"

    def __init__(self, path: Path, budget_bytes: float) -> None:
        make_folder(path)
        if not os.access(path, os.W_OK | os.X_OK):
            raise SinkError(path, "cannot be written to", "change its permissions")
        self.path = path
        self._budget_bytes = budget_bytes
        self._behind = Behind(self._prune, sink=self.name, about=f"folder {path}", depth=1)
        self._looked_s, self._waits = -inf, False
        self.look()

    def send(self, message: Message) -> None:
        """Write one detection; every message is an occasion to look at the budget."""
        if isinstance(message, DetectionMessage):
            write_once(self.path / f"{message.id}.json", encode(message) + b"\n")
        self.look()

    def close(self) -> None:
        """Finish looking at the budget."""
        self._behind.close(PATIENCE_S)

    def look(self) -> None:
        """See to the budget, if it is time, behind whoever calls."""
        now_s = time.monotonic()
        if now_s - self._looked_s >= GRACE_S and not self._waits:
            self._looked_s, self._waits = now_s, True
            self._behind.put(self.path)

    def _prune(self, folder: Path) -> None:
        """Remove what is too much."""
        self._waits = False
        youngest_s = time.time() - GRACE_S
        try:
            files = sorted(_files(folder))
            total = sum(size for _, size, _ in files)
            for changed_s, size, path in files:
                if total <= self._budget_bytes or changed_s > youngest_s:
                    break
                path.unlink(missing_ok=True)
                total -= size
        except OSError as error:
            raise SinkError(folder, *obstacle(folder, error)) from error


def _files(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """Give when the files of detections were written, their sizes and their paths."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if _OURS.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # somebody else tidies up, too
                    continue
                yield status.st_mtime, status.st_size, Path(entry.path)


@dataclass(frozen=True, slots=True, eq=False)
class Cutout:
    """What a file of one detection holds; ``picture`` is None where it has none."""

    message: DetectionMessage
    header: FilterbankHeader
    picture: Picture | None


def write_cutout(
    path: Path, detection: Detection, message: DetectionMessage, header: FilterbankHeader
) -> None:
    """Write the data of one detection as HDF5; the file appears whole or not at all.

    Parameters
    ----------
    path
        The file, such as ``ID.h5``.
    detection
        Its picture becomes datasets, with units and the names of their axes as attributes.
    message
        Its fields become attributes of the file, but for lists and what is null; all of
        it is the dataset ``message``, as JSON.
    header
        Its fields become attributes of the group ``header``.

    Raises
    ------
    SinkError
        Where the file cannot be written.
    """
    import h5py

    # In memory first: HDF5 does not survive a disk that is full.
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.attrs["format"] = CUTOUT
        fields = message.model_dump(by_alias=True)
        _set(file, {k: v for k, v in fields.items() if not isinstance(v, (list, dict))})
        file["message"] = encode(message).decode()
        _set(file.create_group("header"), asdict(header))
        if detection.picture is not None:
            _write_picture(file.create_group("picture"), detection.picture)
    write_whole(path, content.getvalue())


def read_cutout(path: Path) -> Cutout:
    """Read what `write_cutout` wrote.

    Raises
    ------
    InputError
        The file cannot be read, or is damaged or something else.
    """
    import h5py

    try:
        with path.open("rb") as opened, h5py.File(opened) as file:
            if file.attrs.get("format") != CUTOUT:
                raise FormatError(path, "is no cut-out of a detection", "name a file of mlppa's")
            message = read(DetectionMessage, file["message"][()])
            header = FilterbankHeader(**{k: _plain(v) for k, v in file["header"].attrs.items()})
            picture = _read_picture(file["picture"]) if "picture" in file else None
    except MlppaError as error:
        raise FormatError(path, error.cause, error.remedy) from error
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            cause = f"cannot be read ({error.strerror})"
            raise InputError(path, cause, "check its name and its permissions") from error
        raise FormatError(path, f"is damaged ({error})", "leave it out") from error
    return Cutout(message, header, picture)


def _write_picture(group: "h5py.Group", picture: Picture) -> None:
    _set(group, {"dm": picture.dm, "width_ms": picture.width_ms})
    for name, unit in _UNITS.items():
        data = group.create_dataset(name, data=getattr(picture, name))
        data.attrs["unit"] = unit
        if name in _AXES:
            data.attrs["axes"] = ",".join(_AXES[name])


def _read_picture(group: "h5py.Group") -> Picture:
    arrays = {name: group[name][()] for name in _UNITS}
    for name, axes in _AXES.items():
        shape = tuple(len(arrays[axis]) for axis in axes)
        if arrays[name].shape != shape:
            raise ValueError(f"{name} has the shape {arrays[name].shape}, its axes {shape}")
    return Picture(**arrays, dm=float(group.attrs["dm"]), width_ms=float(group.attrs["width_ms"]))


def _set(group: "h5py.Group", fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        if value is not None:
            group.attrs[name] = value


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
