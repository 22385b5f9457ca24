"""Folders of detections: files that are whole, hold what was found, and stay in their budget."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from mlppa.data import Detection, Picture
from mlppa.errors import ConfigError, FormatError, InputError, SinkError
from mlppa.sinks import folder as room
from mlppa.sinks import open_sink
from mlppa.sinks.folder import FolderSink, read_cutout, write_cutout
from mlppa.wire import DetectionMessage, encode

from .conftest import MetricDelta
from .messages import HEADER, ROWS, candidate, cov_message, detection_message

KIB = 1024
SOON_S = 5.0


def made() -> Detection:
    rng = np.random.default_rng(1)

    def noise(*shape: int) -> NDArray[np.float32]:
        return rng.standard_normal(shape, np.float32)

    def axis(length: int) -> NDArray[np.float64]:
        return np.arange(length, dtype=np.float64)

    waterfall = noise(16, 50)
    waterfall[3] = np.nan
    picture = Picture(
        waterfall=waterfall,
        profile=noise(50),
        zero_dm=noise(50),
        time_ms=axis(50) - 25.0,
        freqs_mhz=1464.0 - 21.0 * axis(16),
        image=noise(64, 64),
        image_time_ms=axis(64) * 4.0,
        image_dm=300.0 + axis(64),
        dm=362.42,
        width_ms=4.0,
    )
    return Detection(candidate=candidate(), probability=0.99, label="pulse", picture=picture)


def message(seq: int) -> DetectionMessage:
    found = detection_message(sample=1000.0 * seq, listed=ROWS)
    return found.model_copy(update={"seq": seq})


def aged(path: Path, size: int, age_s: float) -> Path:
    path.write_bytes(bytes(size))
    then = time.time() - age_s
    os.utime(path, (then, then))
    return path


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_cutout_gives_back_what_was_found(tmp_path: Path) -> None:
    detection, path = made(), tmp_path / "a.h5"
    write_cutout(path, detection, message(7), replace(HEADER, ra_deg=12.5, dec_deg=-30.0))
    read = read_cutout(path)
    assert read.message == message(7)
    assert read.header == replace(HEADER, ra_deg=12.5, dec_deg=-30.0)
    assert detection.picture is not None
    assert read.picture is not None
    for name, value in asdict(detection.picture).items():
        np.testing.assert_array_equal(getattr(read.picture, name), value)
        assert np.asarray(getattr(read.picture, name)).dtype == np.asarray(value).dtype


def test_a_stranger_can_read_a_cutout(tmp_path: Path) -> None:
    write_cutout(tmp_path / "a.h5", made(), message(7), HEADER)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["dm"] == message(7).dm
        assert file.attrs["source_name"] == "FRB 190101"
        assert not file.attrs["injected"]
        assert "reason" not in file.attrs, "null"
        assert json.loads(file["message"][()]) == json.loads(encode(message(7)))
        assert file["header"].attrs["telescope"] == "ASKAP"
        waterfall = file["picture/waterfall"]
        assert waterfall.attrs["axes"] == "freqs_mhz,time_ms"
        assert waterfall.attrs["unit"] == "noise"
        assert {data.attrs["unit"] for data in file["picture"].values()} == {
            *("noise", "ms", "MHz", "pc cm^-3")
        }


def test_there_may_be_no_picture(tmp_path: Path) -> None:
    write_cutout(tmp_path / "a.h5", replace(made(), picture=None), message(7), HEADER)
    assert read_cutout(tmp_path / "a.h5").picture is None


def test_a_kill_in_the_middle_leaves_no_half_file(tmp_path: Path) -> None:
    program = """
import os, signal, sys
from pathlib import Path
from tests.test_cutouts import HEADER, made, message, write_cutout
os.fsync = lambda fd: os.kill(os.getpid(), signal.SIGKILL)
write_cutout(Path(sys.argv[1]), made(), message(7), HEADER)
"""
    path = tmp_path / f"{message(7).id}.h5"
    root = Path(__file__).parents[1]
    run = subprocess.run([sys.executable, "-c", program, str(path)], cwd=root, timeout=60)
    assert run.returncode == -signal.SIGKILL
    assert names(tmp_path) == {f".{path.name}.part"}
    then = time.time() - 3600
    os.utime(tmp_path / f".{path.name}.part", (then, then))
    FolderSink(tmp_path, 1.0).close()
    assert names(tmp_path) == set(), "what is left counts, and goes"


def test_a_full_disk_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(SinkError, match="the disk is full"):
            write_cutout(tmp_path / "a.h5", made(), message(7), HEADER)
    assert names(tmp_path) == set()
    write_cutout(tmp_path / "a.h5", made(), message(7), HEADER)
    assert read_cutout(tmp_path / "a.h5").message == message(7)


def test_what_is_no_cutout_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with pytest.raises(InputError, match="cannot be read"):
        read_cutout(path)
    path.write_bytes(b"something else")
    with pytest.raises(FormatError, match=r"a\.h5: is damaged"):
        read_cutout(path)
    with h5py.File(path, "w") as file:
        file["message"] = "{}"
    with pytest.raises(FormatError, match=r"a\.h5: is no cut-out"):
        read_cutout(path)


@pytest.mark.parametrize("flaw", ["picture/profile", "message", "header", "picture/image"])
def test_a_damaged_cutout_is_refused(tmp_path: Path, flaw: str) -> None:
    path = tmp_path / "a.h5"
    write_cutout(path, made(), message(7), HEADER)
    with h5py.File(path, "r+") as file:
        del file[flaw]
        if flaw == "picture/image":
            file[flaw] = np.zeros((2, 3))
        if flaw == "header":
            file.create_group(flaw).attrs["nchans"] = -1
    with pytest.raises(FormatError, match=r"a\.h5"):
        read_cutout(path)


def test_a_cut_short_one_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write_cutout(path, made(), message(7), HEADER)
    whole = path.read_bytes()
    for length in range(0, len(whole), 997):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError):
            read_cutout(path)


def test_every_detection_has_its_message_beside_it(tmp_path: Path) -> None:
    with closing(open_sink(f"folder:{tmp_path}/new/cut")) as sink:
        sink.send(message(1))
        sink.send(cov_message(0).model_copy(update={"seq": 2}))
        sink.send(message(1))
    ((path,)) = (tmp_path / "new" / "cut").iterdir()
    assert path.name == f"{message(1).id}.json"
    assert path.read_bytes() == encode(message(1)) + b"\n"


def test_the_oldest_go_when_there_is_too_much(tmp_path: Path) -> None:
    for seq in range(1, 5):
        aged(tmp_path / f"{message(seq).id}.png", 40 * KIB, 1000.0 - seq)
        aged(tmp_path / f"{message(seq).id}.h5", 60 * KIB, 1000.0 - seq - 0.5)
    FolderSink(tmp_path, 260 * KIB).close()
    kept = {f"{message(seq).id}.{kind}" for seq in (3, 4) for kind in ("png", "h5")}
    assert names(tmp_path) == {f"{message(2).id}.h5"} | kept


def test_young_files_stay(tmp_path: Path) -> None:
    old = aged(tmp_path / f"{message(1).id}.png", KIB, 61.0)
    young = aged(tmp_path / f"{message(2).id}.png", KIB, 50.0)
    FolderSink(tmp_path, 1.0).close()
    assert (old.exists(), young.exists()) == (False, True)


def test_files_of_others_stay(tmp_path: Path) -> None:
    theirs = {"holiday.png", "summary.json", "plot-b1.h5", "a.fil"}
    for name in theirs:
        aged(tmp_path / name, KIB, 10_000.0)
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / f"{message(1).id}.png"
    link.symlink_to(aged(tmp_path / "elsewhere" / "a.png", KIB, 10_000.0))
    FolderSink(tmp_path, 1.0).close()
    assert names(tmp_path) == theirs | {"elsewhere", link.name}


def test_ids_are_known(tmp_path: Path) -> None:
    ids = {message(seq).id for seq in (0, 1, 123456)} | {message(1).id + "-r12"}
    paths = [aged(tmp_path / f"{one}.h5", KIB, 10_000.0) for one in ids]
    FolderSink(tmp_path, 1.0).close()
    assert not any(path.exists() for path in paths)


def test_the_budget_is_looked_at_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = aged(tmp_path / f"{message(1).id}.png", KIB, 100.0)
    with closing(FolderSink(tmp_path, 10.0)) as sink:
        wait_for(lambda: not first.exists())
        old = aged(tmp_path / f"{message(1).id}.png", KIB, 100.0)
        sink.send(cov_message(0))
        assert old.exists(), "not yet"
        monkeypatch.setattr(room, "GRACE_S", 0.0)
        sink.send(cov_message(0))
        wait_for(lambda: not old.exists())


def test_what_cannot_be_removed_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    metric_delta: type[MetricDelta],
) -> None:
    def refused(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    errors = metric_delta("mlppa_sink_errors_total", sink="folder")
    aged(tmp_path / f"{message(1).id}.png", KIB, 100.0)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refused)
        FolderSink(tmp_path, 1.0).close()
    assert errors() == 1
    assert "Operation not permitted" in caplog.text


def test_a_full_disk_is_told_and_it_works_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with closing(FolderSink(tmp_path, KIB)) as sink:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(SinkError, match="the disk is full"):
                sink.send(message(1))
        sink.send(message(2))
    assert names(tmp_path) == {f"{message(2).id}.json"}


def test_a_folder_that_cannot_be_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SinkError, match="is a file, not a folder"):
        open_sink(f"folder:{tmp_path}/file")
    with pytest.raises(ConfigError, match="no number above 0"):
        open_sink(f"folder:{tmp_path}?budget_gib=-1")
    with pytest.raises(ConfigError, match="unknown option budget_gb"):
        open_sink(f"folder:{tmp_path}?budget_gb=1")
