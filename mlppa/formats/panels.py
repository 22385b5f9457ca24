"""Pictures of a candidate as arrays: those of TransientX (.px), and the files of FETCH (.h5).

Both hold the same two panels: frequency against time, dedispersed at the candidate's DM, and
DM against time. Sizes, scales and units differ.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import (
    HIGHEST_MHZ,
    LOWEST_MHZ,
    Candidate,
    FilterbankHeader,
    Float32Array,
    Listed,
    Panels,
)
from ..disk import whole_file
from ..dispersion import delay_s
from ..errors import FormatError, InputError
from .fits import Table, read_table
from .lists import MOST_DM, MOST_SNR, MOST_TIME_S, MOST_WIDTH_MS

#: No value of a picture is further from 0, whatever its units.
MOST_VALUE = 1e9

#: More pixels than this are no picture.
MOST_PIXELS = 1 << 22

#: What a damaged file makes of itself in the library that reads it, or here.
_DAMAGES: tuple[type[Exception], ...] = (
    *(OSError, LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError),
    InputError,
)

type Floats = NDArray[np.float64]


def read_px(path: Path, dm_factor: float) -> Panels:
    """Read the panels that TransientX saves beside a plot.

    Its plane is no intensity: the best S/N over boxcars, no less than 0, of eight DMs and as
    many samples at a time.

    Parameters
    ----------
    dm_factor
        What its DMs are multiplied by.

    Raises
    ------
    InputError
        Where it cannot be read.
    FormatError
        Where it is not such a file.
    """
    spectrum, freqs_mhz, spectrum_s = _mesh(path, 2)
    plane, dms, plane_s = _mesh(path, 4)
    middle = _point(path)
    _check_axes(path, freqs_mhz, spectrum_s - middle, dms, plane_s - middle)
    return Panels(
        spectrum=spectrum,
        freqs_mhz=freqs_mhz,
        spectrum_s=spectrum_s - middle,
        plane=plane,
        dms=dms * dm_factor,
        plane_s=plane_s - middle,
    )


def _mesh(path: Path, axes: int) -> tuple[Float32Array, Floats, Floats]:
    """Give values, and what rows and columns stand for."""
    table = _table(path, "PCOLOR", {"AXES": axes})
    columns, rows = _vector(path, table, "XDATA"), _vector(path, table, "YDATA")
    values = _vector(path, table, "ZDATA")
    if len(values) != len(rows) * len(columns) or min(len(rows), len(columns)) < 2:
        cause = f"{len(values)} values for {len(rows)} rows and {len(columns)} columns"
        raise FormatError(path, cause, "save the image again")
    return values.astype(np.float32).reshape(len(rows), len(columns)), rows, columns


def _check_axes(
    path: Path, freqs_mhz: Floats, spectrum_s: Floats, dms: Floats, plane_s: Floats
) -> None:
    """Refuse axes that cannot be those of a picture."""
    rising = all((np.diff(times) > 0).all() for times in (spectrum_s, plane_s))
    bands = len(np.unique(freqs_mhz)) == len(freqs_mhz)
    near = (freqs_mhz >= LOWEST_MHZ).all() and (freqs_mhz <= HIGHEST_MHZ).all()
    if not (rising and bands and near and (dms >= 0).all() and (dms <= MOST_DM).all()):
        cause = "times do not rise, or frequencies or DMs cannot be"
        raise FormatError(path, cause, "save the image again")


def _point(path: Path) -> float:
    """Give the time of the candidate."""
    return float(_vector(path, _table(path, "POINT", {}), "XDATA")[0])


def _table(path: Path, name: str, where: Mapping[str, int]) -> Table:
    try:
        return read_table(path, name, where)
    except FormatError as error:  # it names the header, not the file
        raise FormatError(path, f"{error.thing} {error.cause}", "save the image again") from error


def _vector(path: Path, table: Table, name: str) -> Floats:
    column = table.columns.get(name)
    if column is None or column.code != "E" or not 0 < column.count <= MOST_PIXELS:
        raise FormatError(path, f"has no numbers called {name}", "save the image again")
    with path.open("rb") as file:
        file.seek(table.offset + column.offset)
        raw = file.read(column.nbytes)
    if len(raw) < column.nbytes:
        raise FormatError(path, f"breaks off in {name}", "copy it again")
    numbers = np.frombuffer(raw, ">f4").astype(np.float64)
    return np.asarray(_plain(numbers), np.float64)


def _plain(values: NDArray[np.floating]) -> Any:
    """Take what is no number for 0, and what no noise can be for the most that is sensible."""
    return np.clip(np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0), -MOST_VALUE, MOST_VALUE)


def read_fetch(path: Path) -> tuple[Panels, Listed, FilterbankHeader]:
    """Read a candidate of FETCH or your.

    Raises
    ------
    InputError
        Where it cannot be read.
    FormatError
        Where it is not such a file.
    """
    import h5py

    remedy = "make it with your_candmaker.py or --write-h5"
    try:
        with h5py.File(path) as file:
            facts = dict(file.attrs)
            sets = [file[name] for name in ("data_freq_time", "data_dm_time")]
            if not all(isinstance(one, h5py.Dataset) for one in sets):
                raise FormatError(path, "what should be panels are none", remedy)
            shapes = [one.shape for one in sets]
            if not all(len(s) == 2 and min(s) > 1 and math.prod(s) <= MOST_PIXELS for s in shapes):
                raise FormatError(path, f"panels of shapes {shapes}", remedy)
            spectrum = _plain(np.asarray(file["data_freq_time"], np.float32).T)
            plane = _plain(np.asarray(file["data_dm_time"], np.float32))
        header = FilterbankHeader(
            nchans=int(facts["nchans"]),
            fch1_mhz=float(facts["fch1"]),
            foff_mhz=float(facts["foff"]),
            tsamp_s=float(facts["tsamp"]),
            tstart_mjd=float(facts["tstart"]),
            source_name=str(facts.get("source_name", "")),
        )
        dm, snr, tcand = (float(facts[name]) for name in ("dm", "snr", "tcand"))
        width = max(int(facts["width"]), 1)
        width_ms = width * header.tsamp_s * 1e3
        fine = 0 < dm <= MOST_DM and abs(snr) <= MOST_SNR and abs(tcand) <= MOST_TIME_S
        if not (fine and width_ms <= MOST_WIDTH_MS):
            cause = f"a DM of {dm:g}, S/N {snr:g}, width {width} at {tcand:g} s"
            raise FormatError(path, cause, remedy)
    except FileNotFoundError as error:
        raise InputError(path, "there is no such file", "check the name") from error
    except FormatError:
        raise
    except _DAMAGES as error:
        raise FormatError(path, f"not a candidate of FETCH ({error})", remedy) from error
    listed = Listed(
        dm=dm,
        width_samples=width,
        width_ms=width_ms,
        snr=snr,
        time_s=tcand,
        mjd=header.mjd(tcand),
        path=str(path),
        line=1,
    )
    bin_s = max(width // 2, 1) * header.tsamp_s
    panels = Panels(
        spectrum=spectrum,
        freqs_mhz=np.linspace(header.freqs_mhz[0], header.freqs_mhz[-1], len(spectrum)),
        spectrum_s=_centred(spectrum.shape[1], bin_s),
        plane=plane,
        dms=np.linspace(0, 2 * dm, len(plane)),
        plane_s=_centred(plane.shape[1], bin_s),
    )
    return panels, listed, header


def _centred(count: int, step: float) -> Floats:
    return np.asarray((np.arange(count) - count // 2) * step, np.float64)


def write_fetch(path: Path, panels: Panels, facts: Mapping[str, Any]) -> None:
    """Write a candidate as FETCH and your have it.

    Parameters
    ----------
    panels
        Of 256 pixels, bins of half a width, DMs from 0 to twice the candidate's.
    facts
        Its attributes.

    Raises
    ------
    SinkError
        Where it cannot be written.
    """
    import h5py

    with whole_file(path) as whole, h5py.File(whole, "w") as file:
        file.attrs.update(facts)
        options = {"compression": "gzip", "compression_opts": 4}
        freq_time = file.create_dataset("data_freq_time", data=panels.spectrum.T, **options)
        dm_time = file.create_dataset("data_dm_time", data=panels.plane, **options)
        for dataset, labels in ((freq_time, ("time", "frequency")), (dm_time, ("dm", "time"))):
            for number, label in enumerate(labels):
                dataset.dims[number].label = label


def fetch_facts(candidate: Candidate, header: FilterbankHeader) -> dict[str, Any]:
    """Give the attributes of a candidate, as FETCH and your call them.

    The band, and the arrival at its top, are of what the panels show: of a candidate in a part of
    the band, that part.
    """
    low, high = candidate.channels or (0, header.nchans)
    top_mhz = float(header.freqs_mhz[low:high].max())
    later_s = float(delay_s(candidate.dm, top_mhz, header.f_hi_mhz))
    tcand = candidate.sample * header.tsamp_s + later_s
    return {
        "cand_id": f"cand_tstart_{header.tstart_mjd:.12f}_tcand_{tcand:.7f}"
        f"_dm_{candidate.dm:.5f}_snr_{candidate.snr:.5f}",
        "tcand": tcand,
        "dm": candidate.dm,
        "dm_opt": candidate.dm,
        "snr": candidate.snr,
        "snr_opt": candidate.snr,
        "width": candidate.width_samples,
        "label": -1,
        "tsamp": header.tsamp_s,
        "native_tsamp": header.tsamp_s,
        "nchans": high - low,
        "fch1": header.fch1_mhz + low * header.foff_mhz,
        "foff": header.foff_mhz,
        "channel_bandwidth": header.foff_mhz,
        "tstart": header.tstart_mjd,
        "nbits": header.nbits,
        "source_name": header.source_name,
    }
