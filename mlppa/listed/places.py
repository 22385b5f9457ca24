"""Where in which data a listed candidate lies."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..data import FilterbankHeader, Listed
from ..disk import is_file
from ..dispersion import sweep_s
from ..errors import InputError
from ..formats.lists import MOST_WIDTH_MS
from ..search import SearchPlan
from ..sources import open_source, split_options

log = logging.getLogger(__name__)

#: Files with a longer hole between them are observations of their own.
LONGEST_HOLE_S = 1.0

#: Lists name arrivals no better than this: they have blocks, and trial DMs.
LISTED_TIME_S = 2e-3


@dataclass(frozen=True, slots=True)
class Observation:
    """Data of one beam without a hole.

    Parameters
    ----------
    uris
        Files that continue each other, in the order of time.
    header
        Of the first one.
    nsamples
        Of all of them.
    """

    uris: tuple[str, ...]
    header: FilterbankHeader
    nsamples: int

    @property
    def stop_s(self) -> float:
        """Where it ends, in seconds since sample 0."""
        return self.nsamples * self.header.tsamp_s

    def seconds(self, listed: Listed) -> float:
        """Give the arrival of a candidate in seconds since sample 0.

        A list without dates counts from there.
        """
        if listed.mjd is not None:
            return (listed.mjd - self.header.tstart_mjd) * 86400.0
        if listed.time_s is not None:
            return listed.time_s
        return (listed.sample or 0) * self.header.tsamp_s

    def holds(self, listed: Listed) -> bool:
        """Whether any part of a candidate's sweep lies in the data."""
        arrival = self.seconds(listed)
        last = arrival + sweep_s(listed.dm, self.header.freqs_mhz)
        return last >= 0 and arrival <= self.stop_s and self._has_band(listed)

    def _has_band(self, listed: Listed) -> bool:
        """Whether most of the band that a list names is in the data."""
        low, high = listed.f_lo_mhz, listed.f_hi_mhz
        if low is None or high is None:
            return True
        edge = abs(self.header.foff_mhz)
        common = min(high, self.header.f_hi_mhz + edge) - max(low, self.header.f_lo_mhz - edge)
        return common >= (high - low) / 2

    def width_samples(self, listed: Listed) -> int:
        """Length of a candidate's boxcar; of one whose list does not know it, one sample."""
        width = listed.width_samples or 1
        if listed.width_ms is not None:
            width = round(listed.width_ms * 1e-3 / self.header.tsamp_s)
        return min(max(width, 1), max(int(MOST_WIDTH_MS * 1e-3 / self.header.tsamp_s), 1))


@dataclass(frozen=True, slots=True)
class Place:
    """A listed candidate on the sample index of its observation.

    Parameters
    ----------
    listed
        What the list says.
    sample
        Arrival at the centre of the highest channel.
    width_samples
        Length of its boxcar.
    """

    listed: Listed
    sample: float
    width_samples: int

    def sweep(self, plan: SearchPlan) -> float:
        """Give the sweep of the band in samples."""
        return self.listed.dm / plan.unit_dm

    def time(self, plan: SearchPlan) -> float:
        """Give the arrival at the band's mean delay."""
        return self.sample + plan.mean_shape * self.sweep(plan)

    def complete(self, plan: SearchPlan) -> float:
        """Give the sample from which on all is there to measure it."""
        width = min(self.width_samples, plan.max_width)
        return self.sample + self.sweep(plan) + 4 * width + LISTED_TIME_S / plan.tsamp_s

    def reach(self, plan: SearchPlan) -> float:
        """Give the samples around the swept pulse in which it is measured and drawn."""
        width = min(2 * self.width_samples, plan.max_width)
        return LISTED_TIME_S / plan.tsamp_s + 4 * width + plan.image_reach(width)


def observations(uris: Sequence[str]) -> list[Observation]:
    """Open data files, and put together those that continue each other.

    Raises
    ------
    MlppaError
        As `open_source` does.
    """
    each = []
    for uri in {_real(uri): uri for uri in uris}.values():
        with closing(open_source([uri])) as source:
            if source.nsamples is None:
                cause = "a live stream cannot be looked up"
                raise InputError(uri, cause, "give the files that it is recorded to")
            each.append(Observation((uri,), source.header, source.nsamples))
    each.sort(key=lambda one: (_kind(one.header), one.header.tstart_mjd, one.uris))
    found: list[Observation] = []
    for one in each:
        if found and _continues(one, found[-1]):
            before = found.pop()
            hole_s = (one.header.tstart_mjd - before.header.tstart_mjd) * 86400.0
            stop = round(hole_s / before.header.tsamp_s) + one.nsamples
            one = Observation(before.uris + one.uris, before.header, stop)
        found.append(one)
    return found


def _kind(header: FilterbankHeader) -> tuple[float, ...]:
    """Give what files of one observation share."""
    return (
        *(header.beam, header.nchans, header.nbits),
        *(round(header.fch1_mhz, 6), round(header.foff_mhz, 6), round(header.tsamp_s, 12)),
    )


def _continues(one: Observation, before: Observation) -> bool:
    passed_s = (one.header.tstart_mjd - before.header.tstart_mjd) * 86400.0
    hole_s = passed_s - before.stop_s
    few_s = 2.5 * one.header.tsamp_s
    return _kind(one.header) == _kind(before.header) and -few_s <= hole_s <= LONGEST_HOLE_S


def named_data(rows: Iterable[Listed], known: Sequence[str]) -> list[str]:
    """Find the data that lists name, but for those that are known: as a path, or beside the list.

    What is not there is left out.
    """
    seen = {_real(uri) for uri in known}
    names = dict.fromkeys((row.file, str(Path(row.path).parent)) for row in rows if row.file)
    found = []
    for name, folder in names:
        for path in (Path(str(name)), Path(folder) / str(name), Path(folder) / Path(name).name):
            if is_file(path):
                if _real(str(path)) not in seen:
                    seen.add(_real(str(path)))
                    found.append(str(path))
                break
    return found


def _real(uri: str) -> Path:
    return Path(split_options(uri)[0]).resolve()


def place(
    rows: Iterable[Listed], known: Sequence[Observation]
) -> tuple[list[list[Place]], list[tuple[Listed, Observation | None]]]:
    """Find the data of each listed candidate.

    The data whose name stands in the list come first, if they hold it (a list may name the
    file after), then those of the same beam, then any that hold it, if there is one only.

    Returns
    -------
    places
        Of every observation, in the order of arrival.
    homeless
        Candidates that lie in no data, with the observation that is named for them.
    """
    places: list[list[Place]] = [[] for _ in known]
    homeless: list[tuple[Listed, Observation | None]] = []
    by_name: dict[str, list[int]] = {}
    for number, one in enumerate(known):
        for uri in one.uris:
            by_name.setdefault(_real(uri).name, []).append(number)
    for row in rows:
        named = by_name.get(Path(row.file).name, []) if row.file else []
        home = _home(row, named, known)
        if home is None:
            near = named or (range(1) if len(known) == 1 else ())
            homeless.append((row, known[near[0]] if near else None))
        else:
            one = known[home]
            sample = one.seconds(row) / one.header.tsamp_s
            places[home].append(Place(row, sample, one.width_samples(row)))
    for some in places:
        some.sort(key=lambda one: one.sample)
    return places, homeless


def _home(row: Listed, named: Sequence[int], known: Sequence[Observation]) -> int | None:
    holding = [number for number, one in enumerate(known) if one.holds(row)]
    if row.mjd is None and not named and len(known) > 1:
        return None  # its seconds count from the beginning of nobody knows which
    for some in (
        [number for number in holding if number in named],
        [number for number in holding if beam_number(row) == known[number].header.beam],
    ):
        if some:
            if len(some) > 1:
                log.debug("%s:%d may lie in several data: the first are taken", row.path, row.line)
            return some[0]
    return holding[0] if len(holding) == 1 else None


def beam_number(row: Listed) -> int | None:
    """Give the number of a beam, such as 3 of cfbf00003."""
    digits = "".join(filter(str.isdigit, row.beam or ""))
    return int(digits) if 0 < len(digits) < 10 else None


def stretches(
    places: Sequence[Place], plan: SearchPlan, gulp: int, nsamples: int
) -> Iterator[tuple[int, int]]:
    """Give the samples to be read, in whole gulps; none is read twice.

    Around every candidate lie what it is measured and drawn with, a gulp more on either side,
    by which those beside it are cleaned, and whatever a neighbour's wing takes.
    """
    first, last = 0, 0
    above = max(plan.mean_shape * plan.max_sweep, 0)
    for one in sorted(places, key=lambda one: one.sample):
        low = int(min(one.sample, one.time(plan) - above) - one.reach(plan)) // gulp - 1
        high = -(-int(one.sample + one.sweep(plan) + one.reach(plan)) // gulp) + 1
        begin, end = max(low * gulp, 0), min(max(high, low + 2) * gulp, nsamples)
        if begin <= last:
            last = max(last, end)
            continue
        if last > first:
            yield first, last
        first, last = begin, end
    if last > first:
        yield first, last
