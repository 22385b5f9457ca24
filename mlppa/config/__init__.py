"""The configuration, checked on load, and the plan that it becomes with a header.

Its sections, and their defaults, stand in `sections`.
"""

import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, NamedTuple, Self

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from ..clean import Room
from ..data import BoolArray, FilterbankHeader
from ..dedisperse import Grid, octaves
from ..dispersion import dm_per_sample, smear_s, sweep_s
from ..errors import ConfigError, InputError
from ..search import SearchPlan
from ..search.resolutions import Resolutions
from ..search.subbands import make_subbands
from .sections import (
    MOST_DM,
    ClassifySettings,
    HeaderSettings,
    InjectSettings,
    KnownSettings,
    LifeSettings,
    ListSettings,
    Named,
    PublishSettings,
    RungSettings,
    SearchSettings,
    Section,
    StreamSettings,
    WatchdogSettings,
    not_empty,
    stream_name,
)
from .words import told, worded

__all__ = [
    "ClassifySettings",
    "Config",
    "DaemonConfig",
    "HeaderSettings",
    "InjectSettings",
    "LifeSettings",
    "ListConfig",
    "ListSettings",
    "Plan",
    "PublishSettings",
    "RungSettings",
    "SearchSettings",
    "SettingError",
    "checked",
    "naming",
    "validated",
    "zapped",
]

#: A plan that needs more than this is refused: it is a typing error, or another machine.
MOST_MEMORY_BYTES = 16 * 2**30


class Thoroughness(NamedTuple):
    """What a plan's name stands for: averaging time early is fast and loses narrow pulses.

    Parameters
    ----------
    delays, smear
        Longest sweep, and longest smearing inside a channel, in samples, before time is averaged
        by two.
    finest_part_s
        Sampling time from which on parts of the band are searched.
    """

    delays: int
    smear: float
    finest_part_s: float


PLANS = {
    "quality": Thoroughness(8192, 8.0, 0.45e-3),
    "fast": Thoroughness(4096, 4.0, 0.9e-3),
}

#: Gulps that are clean before they are screened, and those of a recording that are screened
#: before they are searched; beside them one is at hand wherever one stage waits for another.
CLEAN_AHEAD = SCREENED_AHEAD = 1

#: A gulp lasts at least so long, and has at least so many samples for its statistics, and for
#: those of the widest pulses so many of their widths.
GULP_SECONDS = 1.0
GULP_SAMPLES = 2048
BASELINE_WIDTHS = 4

#: What each gulp costs, whatever its size, counts where it is small: so one of a recording is
#: made longer as long as it is shorter than this, and its cells (samples of a channel) are fewer.
LONG_GULP_SECONDS = 4.0
LONG_GULP_SAMPLES = 16384
LONG_GULP_CELLS = 1 << 22

#: Of a live stream whoever waits for a pulse waits for the end of its gulp, too.
LIVE_GULP_SECONDS = 0.5


class Config(Section):
    """A whole configuration file."""

    stream: Annotated[str, AfterValidator(stream_name)] = "mlppa"
    input: Annotated[list[Named], Field(min_length=1)]
    output: Annotated[Path, BeforeValidator(not_empty)]
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


class DaemonConfig(Config):
    """The configuration of a daemon: one stream (``stream``, ``input``), or several."""

    input: list[Named] = Field(default=[])
    streams: dict[Annotated[str, AfterValidator(stream_name)], StreamSettings] = Field(default={})
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

    input: list[Named] = Field(default=[])
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
        thoroughness = PLANS[settings.plan]
        grid = Grid(
            dm_max=settings.dm_max,
            width_max_s=settings.width_max_ms * 1e-3,
            delays_per_octave=thoroughness.delays,
            smear_per_octave=thoroughness.smear,
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
            parts = make_subbands(search, grid, thoroughness.finest_part_s)
            search = replace(search, subbands=parts)
        baseline = _power_of_two(
            max(
                GULP_SAMPLES,
                (LIVE_GULP_SECONDS if live else GULP_SECONDS) / header.tsamp_s,
                BASELINE_WIDTHS * widest,
            )
        )
        tiles = (o.tile << o.index for plan in search.plans for o in plan.octaves)
        gulp = _power_of_two(max(baseline, *tiles))
        longest = min(
            LONG_GULP_SAMPLES,
            LONG_GULP_CELLS / header.nchans,
            (0 if live else LONG_GULP_SECONDS) / header.tsamp_s,
        )
        while gulp < longest:
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
    def room(self) -> Room:
        """Room for clean gulps: what the search keeps, what is ahead of it, and one that comes."""
        kept = math.ceil(self.search.memory / self.gulp) + 1
        ahead = CLEAN_AHEAD + 1 if self.search.prompt else SCREENED_AHEAD + 1 + CLEAN_AHEAD
        return Room(self.search.halos[0], self.search.reach, kept + ahead + 1)

    @property
    def memory_bytes(self) -> int:
        """Estimate of the samples that the search holds at its largest."""
        clean = self.room.row(self.gulp) + Resolutions(self.search.halos).row(self.gulp)
        raw = 3 * self.gulp * max(self.header.nbits // 8, 1)
        return (clean + raw) * self.header.nchans

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
