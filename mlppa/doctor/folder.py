"""The folder for results: room, speed, and whether a journal may live there."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from .finding import Finding, Needs
from .host import Host, in_words

#: Less free space than this holds no pictures of a busy night; and than this, hardly a journal.
LITTLE_BYTES, LEAST_BYTES = 1 << 30, 64 << 20

#: The journal is synced for each gulp, of one second or more.
SLOW_SYNC_S = 0.05

#: So many times, or for so long, is written.
_SYNCS, _SYNCING_S = 7, 0.5

#: File systems of another machine: the shared memory of SQLite's WAL does not work there.
REMOTE = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "beegfs", "gpfs"),
    *("glusterfs", "orangefs", "pvfs2", "fuse.sshfs", "fuse.glusterfs", "fuse.beegfs", "virtiofs"),
}


def output_folder(host: Host, needs: Needs) -> Iterator[Finding]:
    """Look at the folder for results, or at the one that it will be made in."""
    wanted = Path(os.path.abspath(needs.output))  # noqa: PTH100 - links are looked through below
    folder = next(path for path in (wanted, *wanted.parents) if path.exists())
    name = "output folder"
    if not folder.is_dir():
        yield Finding(name, "fault", f"{folder} is a file", "choose another output folder")
        return
    try:
        sync_s = _time_sync(folder)
    except OSError as error:
        said = f"{folder} cannot be written to ({error.strerror})"
        yield Finding(name, "fault", said, "choose another output folder, or its permissions")
        return
    yield _room(folder)
    yield _file_system(host, folder.resolve())
    said = f"a sync of 4 KiB takes {1e3 * sync_s:.2g} ms (median)"
    if sync_s > SLOW_SYNC_S:
        yield Finding("disk speed", "warning", said, "put the output on a faster local disk")
    else:
        yield Finding("disk speed", "fine", said)


def _time_sync(folder: Path) -> float:
    """Give the median time of writing a page to the disk, in seconds."""
    took: list[float] = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        while len(took) < _SYNCS and sum(took) < _SYNCING_S:
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    return median(took)


def _room(folder: Path) -> Finding:
    about = os.statvfs(folder)
    free = about.f_bavail * about.f_frsize
    said = f"{in_words(free)} are free in {folder}"
    if free < LEAST_BYTES:
        return Finding("disk space", "fault", said, "make room, or choose another output folder")
    if free < LITTLE_BYTES:
        return Finding("disk space", "warning", said, "make room: pictures take 0.1 MiB each")
    return Finding("disk space", "fine", said)


def _file_system(host: Host, folder: Path) -> Finding:
    name = "file system"
    kinds: dict[Path, str] = {}
    for line in (host.read("/proc/self/mountinfo") or "").splitlines():
        # the number of words before the dash differs
        before, dash, after = line.partition(" - ")
        if dash:
            # mounts that come later hide those before at the same place; blanks are escaped
            place = before.split()[4].replace("\\040", " ")
            kinds[Path(place)] = after.split()[0]
    kind = next((kinds[path] for path in (folder, *folder.parents) if path in kinds), None)
    if kind is None:
        return Finding(name, "unknown", "/proc/self/mountinfo does not tell")
    if kind in REMOTE:
        said = f"{kind}, of another machine: the journal (SQLite's WAL) needs a local one"
        return Finding(name, "warning", said, "choose an output folder on a local disk")
    if kind in ("tmpfs", "ramfs"):
        said = f"{kind}: results are gone when the machine stops"
        return Finding(name, "warning", said, "choose an output folder on a disk")
    return Finding(name, "fine", kind)
