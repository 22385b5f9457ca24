"""Small skies that several tests search."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import replace

from mlppa.clean import clean
from mlppa.config import Plan, SearchSettings
from mlppa.data import Block, Candidate, FilterbankHeader, Searched
from mlppa.dedisperse import Kernel
from mlppa.dedisperse.engine import Engine
from mlppa.gulps import gulps
from mlppa.search import search
from mlppa.simulate import Pulse, Sky, SkySource

HEADER = FilterbankHeader(
    nchans=64, fch1_mhz=1500.0, foff_mhz=-5.0, tsamp_s=1e-3, tstart_mjd=60000.0, nbits=8
)
SETTINGS = SearchSettings(dm_max=500.0, threshold=7.0, width_max_ms=60.0)

#: Narrow and wide, low and high DM, faint and bright, one near the start and one near the end.
PULSES = (
    Pulse(time_s=0.3, dm=60.0, width_ms=3.0, snr=20.0),
    Pulse(time_s=2.1, dm=480.0, width_ms=5.0, snr=15.0),
    Pulse(time_s=3.6, dm=210.0, width_ms=1.0, snr=40.0),
    Pulse(time_s=5.0, dm=30.0, width_ms=20.0, snr=18.0),
    Pulse(time_s=7.75, dm=330.0, width_ms=2.0, snr=25.0),
)
SKY = Sky(header=HEADER, nsamples=8200, pulses=PULSES, seed=5)


@functools.cache
def kernel() -> Kernel:
    return Engine(threads=2)


def plan_for(header: FilterbankHeader, settings: SearchSettings = SETTINGS) -> Plan:
    return Plan.make(settings, header, 64)


def searched(
    blocks: Iterable[Block], header: FilterbankHeader, settings: SearchSettings = SETTINGS
) -> list[Searched]:
    """Take blocks through clean and search."""
    plan = plan_for(header, settings)
    cleaned = clean(gulps(blocks, plan.gulp), plan.room, plan.baseline, mask=settings.mask)
    return list(search(cleaned, plan.search, kernel()))


def found(sky: Sky, settings: SearchSettings = SETTINGS) -> list[Candidate]:
    """Search a sky."""
    items = searched(SkySource(sky).blocks(), sky.header, settings)
    return [candidate for item in items for candidate in item.candidates]


def recorded(sky: Sky) -> Block:
    """All of a sky as one block."""
    (block,) = SkySource(sky, sky.nsamples).blocks()
    return block


def cut(block: Block, lengths: Sequence[int]) -> list[Block]:
    """Cut a block into pieces; what is left over is the last one."""
    pieces, begin = [], 0
    for length in (*lengths, len(block.spectra)):
        piece = block.spectra[begin : begin + length]
        if len(piece):
            pieces.append(Block(block.start + begin, piece))
        begin += length
    return pieces


def with_bits(sky: Sky, nbits: int) -> Sky:
    return replace(sky, header=replace(sky.header, nbits=nbits))
