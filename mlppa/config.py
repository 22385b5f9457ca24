"""The configuration, checked on load, and the plan that it becomes with a header.

The models below are the only place where defaults stand.
"""

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .data import FilterbankHeader
from .dedisperse import Grid, octaves
from .dispersion import dm_per_sample, smear_s, sweep_s
from .errors import ConfigError
from .search import SearchPlan

type Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

#: A plan that needs more than this is refused: it is a typing error, or another machine.
MOST_MEMORY_BYTES = 16 * 2**30

#: Longest sweep, in samples, before time is averaged by two: averaging early is fast and
#: loses S/N of narrow pulses at high DM.
DELAYS_PER_OCTAVE = {"quality": 8192, "fast": 4096}

#: A gulp lasts about this long, and has at least GULP_SAMPLES for its statistics.
GULP_SECONDS = 1.0
GULP_SAMPLES = 2048


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SearchSettings(_Section):
    """What to look for."""

    dm_max: Positive = 2000.0
    width_max_ms: Positive = 100.0
    threshold: Annotated[float, Field(ge=4, le=1000)] = 6.5
    threads: Annotated[int, Field(ge=1, le=1024)] = 2
    plan: Literal["quality", "fast"] = "quality"
    dm_tol: Annotated[float, Field(ge=0, le=4)] = 1.0
    mask: bool = True


class ClassifySettings(_Section):
    """What decides."""

    model: str = "spine-64"
    min_probability: Annotated[float, Field(ge=0, le=1)] = 0.7
    batch: Annotated[int, Field(ge=1, le=65536)] = 32
    device: Literal["auto", "cpu", "gpu"] = "auto"


class PublishSettings(_Section):
    """Where results go; endpoints are ZeroMQ addresses, None for none."""

    detections: str | None = None
    replay: str | None = None
    linger_s: Annotated[float, Field(ge=0, le=86400)] = 0.0
    images: bool = True

    @model_validator(mode="after")
    def _replay_stands_beside_detections(self) -> Self:
        if self.replay is not None and self.replay == self.detections:
            raise ValueError("replay and detections need an endpoint each")
        return self


class Config(_Section):
    """A whole configuration file."""

    stream: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "mlppa"
    input: Annotated[list[str], Field(min_length=1)]
    output: Path
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
            raise ConfigError(path, str(error.strerror), "give a file that exists") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(path, f"not TOML: {error}", "correct that line") from error
        return checked(cls, content, str(path))


def checked[T: BaseModel](section: type[T], content: dict[str, object], thing: str) -> T:
    """Validate values, with an error that names the first wrong key.

    Raises
    ------
    ConfigError
        Where a value is missing, unknown or out of range.
    """
    try:
        return section.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the configuration"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise ConfigError(thing, f"{key}: {first['msg']}{more}", f"correct {key}") from error


@dataclass(frozen=True)
class Plan:
    """The configuration once it has met the header: nothing is left to decide.

    Parameters
    ----------
    header
        The stream.
    gulp
        Samples of a gulp.
    search
        The trials.
    """

    header: FilterbankHeader
    gulp: int
    search: SearchPlan

    @classmethod
    def make(cls, settings: SearchSettings, header: FilterbankHeader, res: int) -> Self:
        """Check the settings against a stream.

        Raises
        ------
        ConfigError
            If the search would need more memory than is sensible.
        """
        freqs_mhz = header.freqs_mhz
        grid = Grid(
            dm_max=settings.dm_max,
            width_max_s=settings.width_max_ms * 1e-3,
            delays_per_octave=DELAYS_PER_OCTAVE[settings.plan],
            smear_tolerance=settings.dm_tol,
        )
        rows = settings.dm_max / dm_per_sample(freqs_mhz, header.tsamp_s)
        cls._refuse_huge(rows * header.nchans, settings, header)
        trials = octaves(grid, freqs_mhz, header.tsamp_s)
        least = max(
            GULP_SAMPLES, GULP_SECONDS / header.tsamp_s, *(o.tile << o.index for o in trials)
        )
        gulp = 2 ** math.ceil(math.log2(least))
        widest = max(int(grid.width_max_s / header.tsamp_s), 4)
        search = SearchPlan(freqs_mhz, header.tsamp_s, trials, settings.threshold, res, widest)
        plan = cls(header, gulp, search)
        cls._refuse_huge(plan.memory_bytes, settings, header)
        return plan

    @property
    def baseline(self) -> int:
        """Window of the running baseline: half a gulp is longer than most pulses and sweeps."""
        return self.gulp

    @staticmethod
    def _refuse_huge(nbytes: float, settings: SearchSettings, header: FilterbankHeader) -> None:
        if nbytes > MOST_MEMORY_BYTES:
            sweep = sweep_s(settings.dm_max, header.freqs_mhz)
            raise ConfigError(
                f"dm_max = {settings.dm_max:g}",
                f"its sweep of {sweep:.3g} s needs {nbytes / 2**30:.0f} GiB of memory",
                "lower dm_max or width_max_ms",
            )

    @property
    def memory_bytes(self) -> int:
        """Estimate of the samples, plans and scratch that the search holds at its largest."""
        nchans = self.header.nchans
        history = 2 * nchans * (self.search.memory + 2 * self.gulp)
        windows = sum(nchans * (o.halo + (self.gulp >> o.index)) for o in self.search.octaves)
        cleaning = 24 * nchans * self.gulp
        return history + windows + cleaning

    @property
    def noise_images_per_s(self) -> float:
        """About how many images a second Gaussian noise gives: its trials above the threshold."""
        trials_per_s = 0.0
        for o in self.search.octaves:
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
            "additions_per_s": sum(
                len(o.sweeps) * header.nchans / (header.tsamp_s * 2**o.index)
                for o in search.octaves
            ),
        }
