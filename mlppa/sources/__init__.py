"""Where blocks of spectra come from.

A source is one class, and one line in the entry points group ``mlppa.sources``:
its name is the scheme of its URIs (``spead``, ``dada``), or the extension of its
files, and the object behind it turns a list of URIs into a `Source`.

A live input gives one source after the other, since a telescope changes its receiver and
counters begin anew: it is a `Feed`, one line in the group ``mlppa.feeds`` by its scheme.
"""

import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Protocol, cast, runtime_checkable
from urllib.parse import parse_qsl

from ..data import Block, FilterbankHeader
from ..errors import ConfigError

#: Whose warnings are about one file, which they name first.
_READERS = ("formats.sigproc", "formats.psrfits", "sources.sigproc", "sources.observation")

_SCHEME = re.compile(r"([a-z][a-z0-9+-]+):")

#: After so long without samples a live source gives a block without any.
QUIET_S = 1.0

_MAGIC = {b"\x0c\x00\x00\x00HEADER_START": "sigproc", b"SIMPLE  =": "psrfits"}


class Source(Protocol):
    """A stream of blocks from one beam."""

    @property
    def header(self) -> FilterbankHeader:
        """What is known before the first sample."""
        ...

    @property
    def live(self) -> bool:
        """Whether the sky does not wait: a live stream may be shed, a file not."""
        ...

    @property
    def nsamples(self) -> int | None:
        """Index after the last sample, gaps included; None when it is not known."""
        ...

    def blocks(self) -> Iterator[Block]:
        """Give the blocks in rising order; a gap is a jump of ``Block.start``."""
        ...

    def close(self) -> None:
        """Let `blocks` end soon, from any thread; what was given stays good."""
        ...


class Feed(Protocol):
    """A live input: one observation after the other, each a `Source` of its own.

    A live source gives a block without samples, once, when nothing came for a second or so:
    whoever waits for more to complete a gulp then does so no longer. Its blocks say when
    they were complete.
    """

    def observations(self) -> Iterator[Source]:
        """Give a source when an observation begins; the one before is at its end by then."""
        ...

    def close(self) -> None:
        """Let the source at hand and `observations` end soon, from any thread."""
        ...


@runtime_checkable
class Resumable(Protocol):
    """A feed whose data are still there after a restart."""

    def go_on_after(self, mjd: float) -> None:
        """Pass over what ends before that date; called before `Feed.observations`."""
        ...


type Opener = Callable[[Sequence[str]], Source]
type FeedOpener = Callable[[Sequence[str], FilterbankHeader | None], Feed]


def open_source(uris: Sequence[str]) -> Source:
    """Open files that continue each other, or one live input.

    Parameters
    ----------
    uris
        Paths of files of one format, in any order, or one ``scheme:`` URI.

    Raises
    ------
    ConfigError
        Where the URIs fit no installed source, or not each other.
    InputError
        Where the data cannot be used.
    """
    if not uris:
        raise ConfigError("input", "is not given", "name at least one file")
    installed = {point.name: point for point in entry_points(group="mlppa.sources")}
    kinds = {_kind(uri, installed): uri for uri in uris}
    if len(kinds) > 1:
        cause = f"mixes inputs of the kinds {' and '.join(sorted(kinds))}"
        raise ConfigError(", ".join(kinds.values()), cause, "give inputs of one kind")
    ((kind, uri),) = kinds.items()
    if kind not in installed:
        remedy = f"use one of those installed: {', '.join(sorted(installed)) or 'none'}"
        raise ConfigError(uri, f"there is no source for {kind!r}", remedy)
    return cast(Opener, installed[kind].load())(uris)


def open_feed(uris: Sequence[str], known: FilterbankHeader | None = None) -> Feed:
    """Open a live input; files are one observation, which then ends.

    Parameters
    ----------
    uris
        One ``scheme:`` URI, or paths as `open_source` takes them.
    known
        Header of streams that do not tell theirs.

    Raises
    ------
    ConfigError, InputError
        As `open_source`.
    EnvironmentFault
        Where the input cannot be had, such as a port in use.
    """
    installed = {point.name: point for point in entry_points(group="mlppa.feeds")}
    live = _schemes(uris) & installed.keys()
    if not live:
        return Recorded(open_source(uris))
    if len(uris) > 1:
        cause = "a live input stands alone"
        raise ConfigError(", ".join(uris), cause, "give every stream an input of its own")
    return cast(FeedOpener, installed[live.pop()].load())(uris, known)


def is_live(uris: Sequence[str]) -> bool:
    """Whether URIs name a live input; nothing is opened."""
    return bool(_schemes(uris) & entry_points(group="mlppa.feeds").names)


def _schemes(uris: Sequence[str]) -> set[str]:
    return {match[1] for uri in uris if (match := _SCHEME.match(uri))}


class Recorded:
    """One source as a feed: an observation that has an end."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def observations(self) -> Iterator[Source]:
        """Give it."""
        yield self._source

    def close(self) -> None:
        """Let it end soon."""
        self._source.close()


def split_options(uri: str) -> tuple[str, dict[str, str]]:
    """Cut ``?name=value&…`` off a URI, unless a file is called like that."""
    if "?" not in uri or Path(uri).is_file():
        return uri, {}
    path, _, query = uri.partition("?")
    whole, _, last = uri.rpartition("?")
    if not Path(path).is_file() and Path(whole).is_file():
        path, query = whole, last  # of a file with a question mark in its name
    return path, dict(parse_qsl(query, keep_blank_values=True))


@contextmanager
def telling_once(seen: set[tuple[str, str]]) -> Iterator[None]:
    """Let what is odd about a file be told once, however often it is opened meanwhile.

    Parameters
    ----------
    seen
        What was told, for the next time.
    """

    def is_news(record: logging.LogRecord) -> bool:
        key = record.msg, str(record.args[0]) if isinstance(record.args, tuple) else ""
        known = key in seen
        seen.add(key)
        return not known

    readers = [logging.getLogger(f"{__name__.rpartition('.')[0]}.{name}") for name in _READERS]
    for reader in readers:
        reader.addFilter(is_news)
    try:
        yield
    finally:
        for reader in readers:
            reader.removeFilter(is_news)


def _kind(uri: str, installed: dict[str, EntryPoint]) -> str:
    """Tell the entry point of a URI: content first, then scheme, then extension."""
    path = Path(split_options(uri)[0])
    if os.path.isfile(path):  # noqa: PTH113 - that of pathlib raises in a locked folder
        try:
            with path.open("rb") as file:
                start = file.read(16)
        except OSError:
            start = b""
        for magic, kind in _MAGIC.items():
            if start.startswith(magic):
                return kind
    elif match := _SCHEME.match(uri):
        return match[1]
    extension = path.suffix[1:]
    # What is no format at all goes to the SIGPROC reader, which says why not.
    return extension if extension in installed else "sigproc"
