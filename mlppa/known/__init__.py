"""What is known of the sky behind a detection: pulsars, and the electrons of the Galaxy.

Nothing is dropped here: whoever reads a message decides what a known source, or a DM that
the Galaxy cannot explain, means to him.
"""

from dataclasses import dataclass

from ..data import Candidate, Context, FilterbankHeader
from .catalogue import KnownSources
from .galactic import Model, check_galactic, galactic_dm

__all__ = ["KnownSources", "Model", "Sky", "check_galactic", "context", "galactic_dm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sky:
    """What to compare candidates with.

    Parameters
    ----------
    sources
        None for no list.
    radius_deg
        How far from the pointing a source may be: the beam, its side lobes if they matter.
    galactic
        Which model of the Galaxy to ask, None for none.
    """

    sources: KnownSources | None = None
    radius_deg: float = 1.0
    galactic: Model | None = None


def context(
    candidate: Candidate,
    header: FilterbankHeader,
    sky: Sky,
    galaxy: float | None = None,
) -> Context:
    """Say what is known of the place and the DM of a candidate.

    Parameters
    ----------
    galaxy
        What `galactic_dm` says of the pointing. It takes seconds, and is not asked here: a
        stream would wait.
    """
    name = None
    if sky.sources is not None:
        name = sky.sources.match(
            candidate.dm,
            candidate.dm_err,
            header.ra_deg,
            header.dec_deg,
            sky.radius_deg,
            target=header.source_name,
        )
    return Context(name, galaxy, None if galaxy is None else candidate.dm - galaxy)
