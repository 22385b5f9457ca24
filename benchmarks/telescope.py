"""The stream that everything is timed on: 512 channels at L band, 256 us, DMs up to 500."""

from dataclasses import replace
from functools import cache

from mlppa.clean import clean
from mlppa.config import Plan, SearchSettings
from mlppa.data import CleanGulp, FilterbankHeader, Gulp
from mlppa.gulps import gulps
from mlppa.simulate import Population, SkySource, random_sky

HEADER = FilterbankHeader(
    nchans=512, fch1_mhz=1500.0, foff_mhz=-0.6, tsamp_s=256e-6, tstart_mjd=60000.0, nbits=8
)
SETTINGS = SearchSettings(dm_max=500.0, threshold=6.0)
PLAN = Plan.make(SETTINGS, HEADER, 64)
GULP_S = PLAN.gulp * HEADER.tsamp_s


@cache
def raw(count: int = 2, nbits: int = 8) -> list[Gulp]:
    """Make gulps of a busy sky."""
    header = replace(HEADER, nbits=nbits)
    pulses = Population(n_pulses=3, dm=(20.0, 400.0))
    sky = random_sky(header, count * GULP_S, pulses, rfi=True, seed=1)
    return list(gulps(SkySource(sky).blocks(), PLAN.gulp))


def cleaned(some: list[Gulp]) -> list[CleanGulp]:
    return list(clean(some, PLAN.room, PLAN.baseline))
