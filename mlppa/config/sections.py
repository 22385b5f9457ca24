"""The sections of a configuration file: keys, types, ranges and defaults.

The models below are the only place where defaults stand.
"""

import math
import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ..curve import Keys
from ..web import host_port
from ..wire.address import ADDRESS_REMEDY, address_fault
from .words import told


def not_empty(value: object) -> object:
    """Refuse an empty path."""
    if value == "":
        raise told("is empty", "name a folder")
    return value


def stream_name(value: str) -> str:
    """Refuse what is no name of a stream."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", value):
        cause = f"{value!r} is not 1 to 64 of these characters: A-Z a-z 0-9 _ . -"
        raise told(cause, "give such a name")
    return value


def _address(value: str) -> str:
    if fault := address_fault(value):
        raise told(fault, ADDRESS_REMEDY)
    return value


def _rising(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise told(f"{value[0]:g} to {value[1]:g} is no range", "give the smaller one first")
    return value


def _host_port(value: str) -> str:
    try:
        host_port(value)
    except ValueError as error:
        raise told(str(error), "give one like 127.0.0.1:9177") from error
    return value


def _sink(value: str) -> str:
    scheme = value.partition(":")[0]
    if scheme in ("tcp", "ipc") or scheme not in entry_points(group="mlppa.sinks").names:
        return _address(value)
    return value


#: Beyond any DM, and any pulse.
MOST_DM = 1e6
MOST_WIDTH_MS = 1e6

type Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
type Range = Annotated[tuple[Positive, Positive], AfterValidator(_rising)]
type Named = Annotated[str, Field(min_length=1)]
type Address = Annotated[str, AfterValidator(_address)]
type SinkUri = Annotated[str, AfterValidator(_sink)]


class Section(BaseModel):
    """What all sections are: no key but those named, and no change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SearchSettings(Section):
    """What to look for."""

    dm_max: Annotated[Positive, Field(le=MOST_DM)] = 2000.0
    width_max_ms: Annotated[Positive, Field(le=MOST_WIDTH_MS)] = 100.0
    threshold: Annotated[float, Field(ge=4, le=1000)] = 6.5
    threads: Annotated[int, Field(ge=1, le=1024)] = 2
    plan: Literal["quality", "fast"] = "quality"
    dm_tol: Annotated[float, Field(ge=0, le=4)] = 1.0
    mask: bool = True
    zap_mhz: list[Range] = []
    subbands: bool = True


class ClassifySettings(Section):
    """What decides."""

    model: Named = "spine-64"
    min_probability: Annotated[float, Field(ge=0, le=1)] | None = None
    batch: Annotated[int, Field(ge=1, le=65536)] = 32
    device: Literal["auto", "cpu", "gpu"] = "auto"
    engine: Literal["auto", "tensorflow", "onnx"] = "auto"


class PublishSettings(Section):
    """Where results go; endpoints are ZeroMQ addresses, None for none."""

    detections: SinkUri | None = None
    replay: Address | None = None
    sinks: list[SinkUri] = []
    key: Path | None = None
    clients: Path | None = None
    open: bool = False
    linger_s: Annotated[float, Field(ge=0, le=86400)] = 0.0
    images: bool = True
    cutouts: bool = False

    @property
    def keys(self) -> Keys | None:
        """Key files for both addresses; None where they go without."""
        if self.key is None or self.clients is None:
            return None
        return Keys(self.key, self.clients)

    @model_validator(mode="after")
    def _keys_are_a_pair(self) -> Self:
        if (self.key is None) != (self.clients is None):
            raise told("one of key and clients is given", "give both, or none")
        return self

    @field_validator("replay")
    @classmethod
    def _stands_beside_detections(cls, replay: str | None, info: ValidationInfo) -> str | None:
        if replay is not None and replay == info.data.get("detections"):
            raise told(f"{replay} is where detections go", "give an address of its own")
        return replay


class ListSettings(Section):
    """Which lists of other searches to judge, and how."""

    files: Annotated[list[Named], Field(min_length=1)]
    search: bool = True
    model: Named = "table-7"
    images: Literal["data", "px"] = "data"
    write_h5: bool = False


class StreamSettings(Section):
    """One beam of a daemon: where its data come from."""

    input: Annotated[list[Named], Field(min_length=1)]


class RungSettings(Section):
    """A step down the ladder: what is not given stays as it is one step above."""

    batch: Annotated[int, Field(ge=1, le=65536)] | None = None
    model: Named | None = None
    threshold: Annotated[float, Field(ge=4, le=1000)] | None = None


class WatchdogSettings(Section):
    """When a live stream is late, and what is given up then."""

    late: Annotated[Positive, Field(le=100)] = 1.0
    recovered: Annotated[Positive, Field(le=100)] = 0.8
    smooth_s: Annotated[Positive, Field(le=3600)] = 3.0
    patience_s: Annotated[float, Field(ge=0, le=3600)] = 5.0
    queue_s: Annotated[Positive, Field(le=600)] = 10.0
    ladder: list[RungSettings] = []

    @field_validator("recovered")
    @classmethod
    def _is_below_late(cls, recovered: float, info: ValidationInfo) -> float:
        if recovered >= info.data.get("late", math.inf):
            cause = f"{recovered:g} is not below {info.data['late']:g}, from which it is late"
            raise told(cause, "give less")
        return recovered


class InjectSettings(Section):
    """Synthetic pulses in the live stream: how many, and which."""

    per_hour: Annotated[float, Field(ge=0, le=3600)] = 0.0
    snr: Range = (7.0, 30.0)
    dm: Range = (50.0, 500.0)
    width_ms: Range = (0.5, 20.0)
    seed: Annotated[int, Field(ge=0)] = 1
    alert_below: Annotated[float, Field(ge=0, le=1)] = 0.5


class LifeSettings(Section):
    """How the daemon lives: what it tells, and how it ends."""

    http: Annotated[str, AfterValidator(_host_port)] | None = "127.0.0.1:9177"
    health_every_s: Annotated[Positive, Field(le=3600)] = 10.0
    silent_s: Annotated[Positive, Field(le=86400)] = 5.0
    stop_s: Annotated[Positive, Field(le=3600)] = 20.0
    keep_messages: Annotated[int, Field(ge=1000)] = 2_000_000
    pictures_gib: Annotated[Positive, Field(le=1e6)] = 10.0
    log: Literal["text", "json"] = "text"


class KnownSettings(Section):
    """Known sources, and the Galaxy: what is marked, and never dropped."""

    file: Annotated[Path, BeforeValidator(not_empty)] | None = None
    radius_deg: Annotated[Positive, Field(le=180)] = 1.0
    galactic: Literal["none", "ne2001", "ne2025"] = "none"


class HeaderSettings(Section):
    """Of live streams that do not tell theirs."""

    nchans: Annotated[int, Field(gt=1, le=65536)]
    fch1_mhz: Positive
    foff_mhz: float
    tsamp_s: Positive
    tstart_mjd: Annotated[float, Field(ge=0)] = 0.0
    nbits: Literal[1, 2, 4, 8, 16, 32] = 8
    source_name: str = ""
    telescope: str = ""
    beam: int = 0
    ra_deg: Annotated[float, Field(ge=0, le=360)] | None = None
    dec_deg: Annotated[float, Field(ge=-90, le=90)] | None = None
