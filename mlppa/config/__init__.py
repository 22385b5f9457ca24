"""The configuration, checked on load, and the plan that it becomes with a header.

The models below are the only place where defaults stand.
"""

import math
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ..clean.reels import GULPS
from ..curve import Keys
from ..data import BoolArray, FilterbankHeader
from ..dedisperse import Grid, octaves
from ..dispersion import dm_per_sample, smear_s, sweep_s
from ..errors import ConfigError, InputError
from ..search import SearchPlan
from ..search.subbands import make_subbands
from ..wire.address import ADDRESS_REMEDY, address_fault
from .words import told, worded


def _text(value: object) -> object:
    if value == "":
        raise told("is empty", "name a folder")
    return value


def _name(value: str) -> str:
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
    host, colon, port = value.rpartition(":")
    if not (host and colon and port.isdigit() and int(port) < 65536):
        raise told(f"{value!r} is not HOST:PORT", "give one like 127.0.0.1:9177")
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

#: A plan that needs more than this is refused: it is a typing error, or another machine.
MOST_MEMORY_BYTES = 16 * 2**30

#: Longest sweep, in samples, before time is averaged by two: averaging early is fast and
#: loses S/N of narrow pulses at high DM.
DELAYS_PER_OCTAVE = {"quality": 8192, "fast": 4096}

#: A gulp lasts at least so long, or twice that if its cells (samples of a channel) are fewer
#: than GULP_CELLS: then what each gulp costs, whatever its size, counts. And it has at least
#: GULP_SAMPLES for its statistics, and for those of the widest pulses so many of their widths.
GULP_SECONDS = 1.0
GULP_CELLS = 1 << 21
GULP_SAMPLES = 2048
BASELINE_WIDTHS = 4

#: Of a live stream whoever waits for a pulse waits for the end of its gulp, too.
LIVE_GULP_SECONDS = 0.5


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SearchSettings(_Section):
    """What to look for."""

    dm_max: Annotated[Positive, Field(le=MOST_DM)] = 2000.0
    width_max_ms: Annotated[Positive, Field(le=MOST_WIDTH_MS)] = 100.0
    threshold: Annotated[float, Field(ge=4, le=1000)] = 6.5
    threads: Annotated[int, Field(ge=1, le=1024)] = 2
    plan: Literal["quality", "fast"] = "quality"
    dm_tol: Annotated[float, Field(ge=0, le=4)] = 1.0
    mask: bool = True
    zap_mhz: list[Range] = []
    subbands: bool = False


class ClassifySettings(_Section):
    """What decides."""

    model: Named = "spine-64"
    min_probability: Annotated[float, Field(ge=0, le=1)] | None = None
    batch: Annotated[int, Field(ge=1, le=65536)] = 32
    device: Literal["auto", "cpu", "gpu"] = "auto"
    engine: Literal["auto", "tensorflow", "onnx"] = "auto"


class PublishSettings(_Section):
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


class ListSettings(_Section):
    """Which lists of other searches to judge, and how."""

    files: Annotated[list[Named], Field(min_length=1)]
    search: bool = True
    model: Named = "table-7"
    images: Literal["data", "px"] = "data"
    write_h5: bool = False


class Config(_Section):
    """A whole configuration file."""

    stream: Annotated[str, AfterValidator(_name)] = "mlppa"
    input: Annotated[list[Named], Field(min_length=1)]
    output: Annotated[Path, BeforeValidator(_text)]
    search: SearchSettings = SearchSettings()
    classify: ClassifySettings = ClassifySettings()
    publish: PublishSettings = PublishSettings()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a TOML file.

        Raises
        ------
        ConfigError
            If it cannot be read, is not TOML, or says something that cannot be.
        """
        try:
            with path.open("rb") as file:
                content = tomllib.load(file)
        except OSError as error:
            cause = (
                "is a folder"
                if isinstance(error, IsADirectoryError)
                else f"cannot be read ({error.strerror})"
            )
            raise ConfigError(path, cause, "give a configuration file") from error
        except (ValueError, RecursionError) as error:
            raise ConfigError(path, f"not TOML: {error}", "correct that line") from error
        return checked(cls, content, str(path))


class StreamSettings(_Section):
    """One beam of a daemon: where its data come from."""

    input: Annotated[list[Named], Field(min_length=1)]


class RungSettings(_Section):
    """A step down the ladder: what is not given stays as it is one step above."""

    batch: Annotated[int, Field(ge=1, le=65536)] | None = None
    model: Named | None = None
    threshold: Annotated[float, Field(ge=4, le=1000)] | None = None


class WatchdogSettings(_Section):
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


class InjectSettings(_Section):
    """Synthetic pulses in the live stream: how many, and which."""

    per_hour: Annotated[float, Field(ge=0, le=3600)] = 0.0
    snr: Range = (7.0, 30.0)
    dm: Range = (50.0, 500.0)
    width_ms: Range = (0.5, 20.0)
    seed: Annotated[int, Field(ge=0)] = 1
    alert_below: Annotated[float, Field(ge=0, le=1)] = 0.5


class LifeSettings(_Section):
    """How the daemon lives: what it tells, and how it ends."""

    http: Annotated[str, AfterValidator(_host_port)] | None = "127.0.0.1:9177"
    health_every_s: Annotated[Positive, Field(le=3600)] = 10.0
    silent_s: Annotated[Positive, Field(le=86400)] = 5.0
    stop_s: Annotated[Positive, Field(le=3600)] = 20.0
    keep_messages: Annotated[int, Field(ge=1000)] = 2_000_000
    pictures_gib: Annotated[Positive, Field(le=1e6)] = 10.0
    log: Literal["text", "json"] = "text"


class KnownSettings(_Section):
    """Known sources, and the Galaxy: what is marked, and never dropped."""

    file: Annotated[Path, BeforeValidator(_text)] | None = None
    radius_deg: Annotated[Positive, Field(le=180)] = 1.0
    galactic: Literal["none", "ne2001", "ne2025"] = "none"


class HeaderSettings(_Section):
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


class DaemonConfig(Config):
    """The configuration of a daemon: one stream (``stream``, ``input``), or several."""

    input: list[Named] = []
    streams: dict[Annotated[str, AfterValidator(_name)], StreamSettings] = {}
    watchdog: WatchdogSettings = WatchdogSettings()
    inject: InjectSettings = InjectSettings()
    life: LifeSettings = LifeSettings()
    known: KnownSettings = KnownSettings()
    header: HeaderSettings | None = None

    @model_validator(mode="after")
    def _has_input(self) -> Self:
        if bool(self.input) == bool(self.streams):
            cause = "both input and streams are given" if self.input else "there is no input"
            raise told(cause, 'give input = ["…"], or a section [streams.NAME] for every beam')
        return self

    @field_validator("header")
    @classmethod
    def _is_a_header(cls, header: HeaderSettings | None) -> HeaderSettings | None:
        if header is not None:
            try:
                FilterbankHeader(**header.model_dump())
            except InputError as error:
                raise told(error.cause, error.remedy) from error
        return header

    @model_validator(mode="after")
    def _puts_in_what_is_searched(self) -> Self:
        for key, most in (("dm", self.search.dm_max), ("width_ms", self.search.width_max_ms)):
            highest = getattr(self.inject, key)[1]
            if self.inject.per_hour and highest > most:
                cause = f"inject.{key} goes up to {highest:g}, and the search to {most:g}"
                raise told(cause, "put in what would be found, or search farther")
        return self

    @property
    def inputs(self) -> dict[str, list[str]]:
        """URIs of every stream, by its name."""
        if self.input:
            return {self.stream: self.input}
        return {name: one.input for name, one in self.streams.items()}

    @property
    def known_header(self) -> FilterbankHeader | None:
        """Header of streams that tell none."""
        return None if self.header is None else FilterbankHeader(**self.header.model_dump())


class ListConfig(Config):
    """A configuration for lists of other searches; the data may be found by their names."""

    input: list[Named] = []
    lists: ListSettings


class SettingError(ConfigError):
    """A setting is wrong: `thing` is its key, such as ``search.dm_max``."""


@contextmanager
def naming(name: Callable[[str], str]) -> Iterator[None]:
    """Let errors about settings name them as the user does, who may never see a key."""
    try:
        yield
    except SettingError as error:
        raise ConfigError(name(error.thing), error.cause, error.remedy) from error


def checked[T: BaseModel](section: type[T], content: Mapping[str, object], thing: str) -> T:
    """Validate values that stand in ``thing``, with an error that names it and the key.

    Raises
    ------
    ConfigError
        Where a value is missing, unknown or out of range.
    """
    with naming(lambda key: f"{thing}: {key}" if key else thing):
        return validated(section, content)


def validated[T: BaseModel](section: type[T], content: Mapping[str, object]) -> T:
    """Validate values, with an error about the first wrong one.

    Raises
    ------
    SettingError
        Where a value is missing, unknown or out of range.
    """
    try:
        return section.model_validate(content)
    except ValidationError as error:
        first, *others = error.errors()
        key = ".".join(str(part) for part in first["loc"])
        cause, remedy = worded(dict(first))
        if first["type"] == "extra_forbidden":
            known = ", ".join(_fields(section, first["loc"][:-1]))
            cause, remedy = "there is no such key", f"take one of: {known}"
        more = f" (and {len(others)} more)" if others else ""
        raise SettingError(key, cause + more, remedy) from error


def _fields(section: type[BaseModel], path: tuple[int | str, ...]) -> Iterator[str]:
    """Keys of a section, given by the way to it."""
    for name in path:
        inner = section.model_fields[str(name)].annotation
        assert isinstance(inner, type)
        section = inner
    yield from section.model_fields


@dataclass(frozen=True)
class Plan:
    """The configuration once it has met the header: nothing is left to decide.

    Parameters
    ----------
    header
        The stream.
    baseline
        Window of the running baseline in samples: half of it is longer than any boxcar.
    gulp
        Samples of a gulp.
    search
        The trials.
    zapped
        Channels that are left out whatever they hold, shape (nchans,).
    """

    header: FilterbankHeader
    baseline: int
    gulp: int
    search: SearchPlan
    zapped: BoolArray

    @classmethod
    def make(
        cls, settings: SearchSettings, header: FilterbankHeader, res: int, *, live: bool = False
    ) -> Self:
        """Check the settings against a stream.

        Of a live one gulps are short and peaks wait for little: pulses are told soon.

        Raises
        ------
        SettingError
            If the search would need more memory than is sensible, or would try no DM but 0.
        InputError
            If no DM at all would do for these data.
        """
        freqs_mhz = header.freqs_mhz
        least_dm = dm_per_sample(freqs_mhz, header.tsamp_s)
        _refuse_small(settings.dm_max, least_dm)
        grid = Grid(
            dm_max=settings.dm_max,
            width_max_s=settings.width_max_ms * 1e-3,
            delays_per_octave=DELAYS_PER_OCTAVE[settings.plan],
            smear_tolerance=settings.dm_tol,
        )
        rows = settings.dm_max / least_dm
        cls._refuse_huge(rows * header.nchans, settings, header)
        trials = octaves(grid, freqs_mhz, header.tsamp_s)
        widest = max(int(grid.width_max_s / header.tsamp_s), 4)
        search = SearchPlan(
            freqs_mhz, header.tsamp_s, trials, settings.threshold, res, widest, prompt=live
        )
        if settings.subbands:
            search = replace(search, subbands=make_subbands(search, grid))
        baseline = _power_of_two(
            max(
                GULP_SAMPLES,
                (LIVE_GULP_SECONDS if live else GULP_SECONDS) / header.tsamp_s,
                BASELINE_WIDTHS * widest,
            )
        )
        tiles = (o.tile << o.index for plan in search.plans for o in plan.octaves)
        gulp = _power_of_two(max(baseline, *tiles))
        small = gulp * header.nchans < GULP_CELLS and gulp * header.tsamp_s < 2 * GULP_SECONDS
        if small and not live:
            gulp *= 2
        plan = cls(header, baseline, gulp, search, zapped(settings, header))
        cls._refuse_huge(plan.memory_bytes, settings, header)
        return plan

    @staticmethod
    def _refuse_huge(nbytes: float, settings: SearchSettings, header: FilterbankHeader) -> None:
        if nbytes > MOST_MEMORY_BYTES:
            sweep, width = sweep_s(settings.dm_max, header.freqs_mhz), settings.width_max_ms * 1e-3
            if width > sweep:
                key, what = "search.width_max_ms", f"a boxcar of {width:.3g} s"
            else:
                key, what = "search.dm_max", f"the sweep of {sweep:.3g} s at {settings.dm_max:g}"
            cause = f"{what} needs {nbytes / 2**30:.3g} GiB of memory"
            raise SettingError(key, cause, f"lower it until {MOST_MEMORY_BYTES >> 30} GiB suffice")

    @property
    def memory_bytes(self) -> int:
        """Estimate of the samples that the search holds at its largest."""
        (fine, *coarse), nchans = self.search.halos, self.header.nchans
        # what is kept, a gulp that comes, and reels that are not full at both ends
        history = (self.search.memory + 2 * GULPS * self.gulp) * nchans
        history += history * fine // (GULPS * self.gulp)
        # one reel is read while another one begins
        reel = sum(coarse) + GULPS * self.gulp * (1 - 0.5 ** len(coarse))
        raw = 3 * self.gulp * nchans * max(self.header.nbits // 8, 1)
        return history + int(2 * reel * nchans) + raw

    @property
    def noise_images_per_s(self) -> float:
        """About how many images a second Gaussian noise gives: its trials above the threshold."""
        trials_per_s = 0.0
        for o in (o for plan in self.search.plans for o in plan.octaves):
            pixel_s = self.header.tsamp_s * 2**o.index
            trials_per_s += len(o.sweeps) * sum(1 / w for w in o.widths) / pixel_s
        return trials_per_s * math.erfc(self.search.threshold / math.sqrt(2)) / 2

    def describe(self) -> dict[str, object]:
        """Give the plan as plain values, for `mlppa check`."""
        header, search = self.header, self.search
        f_mid = (header.f_lo_mhz + header.f_hi_mhz) / 2
        dm_max = float(search.octaves[-1].sweeps[-1] << search.octaves[-1].index) * search.unit_dm
        return {
            "nchans": header.nchans,
            "band_mhz": [header.f_lo_mhz, header.f_hi_mhz],
            "tsamp_s": header.tsamp_s,
            "gulp_samples": self.gulp,
            "dm_max": dm_max,
            "sweep_s": search.max_sweep * header.tsamp_s,
            "smear_ms_at_dm_max": 1e3 * smear_s(dm_max, f_mid, header.foff_mhz),
            "latency_s": (search.hold + self.gulp) * header.tsamp_s,
            "memory_bytes": self.memory_bytes,
            "budget_s": self.gulp * header.tsamp_s,
            "noise_images_per_s": self.noise_images_per_s,
            "octaves": [
                {
                    "octave": o.index,
                    "tsamp_s": header.tsamp_s * 2**o.index,
                    "rows": len(o.sweeps),
                    "dm_first": float(o.sweeps[0] << o.index) * search.unit_dm,
                    "dm_last": float(o.sweeps[-1] << o.index) * search.unit_dm,
                    "widths": o.widths,
                }
                for o in search.octaves
            ],
            "subbands": [
                {
                    "band_mhz": [float(p.freqs_mhz.min()), float(p.freqs_mhz.max())],
                    "rows": sum(len(o.sweeps) for o in p.octaves),
                    "tsamp_s": header.tsamp_s * 2 ** p.octaves[0].index,
                }
                for p in search.plans[1:]
            ],
            "additions_per_s": sum(
                len(o.sweeps) * header.nchans / (header.tsamp_s * 2**o.index)
                for o in search.octaves
            ),
        }


def zapped(settings: SearchSettings, header: FilterbankHeader) -> BoolArray:
    """Give the channels whose centre lies in one of the ranges to leave out, (nchans,)."""
    freqs_mhz, out = header.freqs_mhz, np.zeros(header.nchans, np.bool_)
    for low, high in settings.zap_mhz:
        out |= (freqs_mhz >= low) & (freqs_mhz <= high)
    return out


def _power_of_two(least: float) -> int:
    return 1 << math.ceil(math.log2(least))


def _refuse_small(dm_max: float, least_dm: float) -> None:
    """Refuse a search that would try no DM but 0."""
    if dm_max >= least_dm:
        return
    # rounded up, so that what is said will do
    digits = 3 - math.ceil(math.log10(least_dm))
    useful = math.ceil(least_dm * 10**digits) / 10**digits
    if useful > MOST_DM:
        cause = f"up to a DM of {MOST_DM:g} the sweep of the band is shorter than a sample"
        remedy = "give data of a wider band, a lower frequency or a shorter sampling time"
        raise InputError("these data", cause, remedy)
    cause = f"at {dm_max:g} the sweep of the band is shorter than a sample"
    raise SettingError("search.dm_max", cause, f"give {useful:g} or more for these data")
