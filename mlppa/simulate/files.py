"""A simulated observation on disk: a SIGPROC filterbank and the truth beside it."""

import json
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..disk import whole_file
from ..errors import ConfigError, FormatError, SinkError
from ..formats.bits import pack_bits
from ..formats.sigproc import pack_header
from .interference import Interference
from .pulse import Pulse
from .sky import Sky, blocks

type Tell = Callable[[int], None]


class Truth(NamedTuple):
    """What was put into a simulated observation."""

    pulses: list[Pulse]
    interference: list[Interference]


def truth_path(path: Path) -> Path:
    """Where the truth of a filterbank file lies."""
    return path.with_name(path.name + ".truth.jsonl")


def write_filterbank(sky: Sky, path: Path, tell: Tell = lambda nsamples: None) -> None:
    """Write a sky as a SIGPROC filterbank, and its truth as JSON lines beside it.

    Neither file appears under its name before both are whole, and nothing is left of them
    when that is not to be.

    Parameters
    ----------
    tell
        Is called with the number of samples written so far.

    Raises
    ------
    ConfigError
        Where a spectrum does not fill whole bytes.
    SinkError
        Where the files cannot be written.
    """
    with suppress(PermissionError):  # told when it is opened
        if path.is_dir():
            raise SinkError(path, "is a folder", f"name a file in it, such as {path / 'sky.fil'}")
    if sky.header.nchans * sky.header.nbits % 8:
        cause = f"{sky.header.nchans} channels of {sky.header.nbits} bit end inside a byte"
        raise ConfigError(path, cause, "take a multiple of eight channels")
    _check_room(path, sky.nsamples * sky.header.nchans * sky.header.nbits // 8)
    lines = (json.dumps(line).encode() + b"\n" for line in _truth_lines(sky))
    # the last one is the first to get its name: no truth without its data
    with whole_file(truth_path(path)) as truth, whole_file(path) as data:
        truth.writelines(lines)
        data.write(pack_header(sky.header))
        for block in blocks(sky):
            data.write(_packed(block.spectra, sky.header.nbits))
            tell(block.stop)


def _packed(spectra: NDArray[np.generic], nbits: int) -> bytes:
    """Pack samples as SIGPROC does: little-endian, the first channel in the lowest bits."""
    if nbits >= 8:
        return spectra.astype(spectra.dtype.newbyteorder("<"), copy=False).tobytes()
    return bytes(pack_bits(spectra.astype(np.uint8).ravel(), nbits).tobytes())


def read_truth(path: Path) -> Truth:
    """Read what was put in: JSON lines, or (``.json``) one object with a list of "pulses".

    Raises
    ------
    FormatError
        Where it is neither.
    """
    try:
        text = path.read_text()
        if path.suffix == ".json":
            return Truth([_pulse(entry) for entry in json.loads(text)["pulses"]], [])
        lines = [json.loads(line) for line in text.splitlines() if line.strip()]
        pulses = [_pulse(line) for line in lines if line["kind"] == "pulse"]
        return Truth(pulses, [_interference(line) for line in lines if line["kind"] != "pulse"])
    except OSError as error:
        cause = f"cannot be read ({error.strerror})"
        raise FormatError(path, cause, "give the truth file of a simulation") from error
    except UnicodeDecodeError as error:
        raise FormatError(path, "is not text", "give the truth file of a simulation") from error
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(path, f"not a truth file ({error!r})", "simulate it again") from error


def _truth_lines(sky: Sky) -> Iterable[dict[str, Any]]:
    for number, pulse in enumerate(sky.pulses):
        yield {"kind": "pulse", "id": number} | asdict(pulse)
    for item in sky.interference:
        yield {key: None if value == np.inf else value for key, value in asdict(item).items()}


def _pulse(entry: dict[str, Any]) -> Pulse:
    entry = {"time_s": entry.get("t")} | entry
    return Pulse(**{key: entry[key] for key in _names(Pulse) if key in entry})


def _interference(entry: dict[str, Any]) -> Interference:
    stop_s = np.inf if entry["stop_s"] is None else entry["stop_s"]
    said = {key: entry[key] for key in _names(Interference) if key in entry}
    return Interference(**said | {"stop_s": stop_s})


def _names(kind: type[Pulse | Interference]) -> list[str]:
    return [field.name for field in fields(kind)]


def _check_room(path: Path, nbytes: int) -> None:
    """Refuse before hours have gone what the disk cannot hold."""
    with suppress(OSError):  # told when it is opened
        total, _, free = shutil.disk_usage(path.parent)
        if total and nbytes > free:  # some file systems have no size
            cause = f"needs {nbytes / 2**30:.3g} GiB, and the disk has {free / 2**30:.3g}"
            raise SinkError(path, cause, "make room, or choose another folder")
