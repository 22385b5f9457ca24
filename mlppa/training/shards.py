"""Labelled images on disk: files of some skies each, and a list of them."""

import json
import logging
import signal
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..classify.card import file_sha256
from ..disk import make_folder, whole_file, write_whole
from ..errors import EnvironmentFault, FormatError
from ..images import FEATURES
from .card import code_version
from .examples import CLASSES, FACTS, TALLY, Examples, join, random_examples
from .skies import VALIDATION, Draw

#: The list of the shards of a set.
MANIFEST = "dataset.json"
SCHEMA = "mlppa.images/4"

#: Skies whose images lie in one file.
SKIES_PER_SHARD = 16

#: Is called with what is being done, how much of it is, and of how much.
type Tell = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """Tell nobody how far it is."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of images.

    Parameters
    ----------
    name
        Of the file.
    images, pulses
        How many of those in it belong to the set, and how many of them show a pulse.
    sha256
        Of the file.
    """

    name: str
    images: int
    pulses: int
    sha256: str


@dataclass(frozen=True)
class Dataset:
    """A set of labelled images on disk.

    Parameters
    ----------
    folder
        Where the shards lie.
    res
        Pixels along either side of an image.
    shards
        The files, in the order of the skies.
    facts
        All that the list of shards tells.
    """

    folder: Path
    res: int
    shards: tuple[Shard, ...]
    facts: dict[str, Any]
    _verified: set[str] = field(default_factory=set, init=False, repr=False)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the list of a set's shards.

        Raises
        ------
        FormatError
            Where there is none, or it cannot be used.
        """
        path = folder / MANIFEST
        remedy = "make the set again: mlppa models dataset"
        try:
            facts = json.loads(path.read_text())
            if facts["schema"] != SCHEMA or tuple(facts["features"]) != FEATURES:
                raise FormatError(path, "was made by another version", remedy)
            shards = tuple(Shard(**shard) for shard in facts["shards"])
            return cls(folder, int(facts["draw"]["res"]), shards, facts)
        except OSError as error:
            raise FormatError(path, f"cannot be read ({error.strerror})", remedy) from error
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(path, f"not a list of shards ({error!r})", remedy) from error

    @cached_property
    def images(self) -> int:
        """How many images there are."""
        return sum(shard.images for shard in self.shards)

    @cached_property
    def sha256(self) -> str:
        """Digest of the list of shards, and so of all that is in the set."""
        return file_sha256(self.folder / MANIFEST)

    def read(self, shard: Shard, res: int | None = None) -> Examples:
        """Read a shard; with ``res`` the middle of its images.

        Raises
        ------
        FormatError
            Where it is missing, not the file of the list, or its images are too small.
        """
        res = res or self.res
        if res > self.res:
            cause = f"images of {self.res} pixels, {res} are wanted"
            raise FormatError(self.folder, cause, "make a set of larger images")
        path = self.folder / shard.name
        self._verify(path, shard)
        examples = read_shard(path, (self.res - res) // 2)
        if len(examples.facts) < shard.images:
            cause = f"holds {len(examples.facts)} images, not {shard.images}"
            raise FormatError(path, cause, "make the set again")
        if len(examples.facts) == shard.images:
            return examples
        some = examples.take(np.arange(shard.images))
        kept = some.tallies["sky"] <= some.skies.max(initial=-1)
        return replace(some, tallies=some.tallies[kept])

    def _verify(self, path: Path, shard: Shard) -> None:
        """See once that a file is that of the list."""
        if shard.name not in self._verified and path.exists():
            if (found := file_sha256(path)) != shard.sha256:
                cause = f"its sha256 is {found}, that of the list {shard.sha256}"
                raise FormatError(path, cause, "make the set again")
            self._verified.add(shard.name)

    def __iter__(self) -> Iterator[Examples]:
        return (self.read(shard) for shard in self.shards)


def validates(examples: Examples) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which images are of skies that are not trained on, shape (n,)."""
    return np.asarray(examples.skies % VALIDATION == 0)


def write_shard(path: Path, examples: Examples) -> None:
    """Write images, features and facts as HDF5."""
    import h5py

    with whole_file(path) as whole, h5py.File(whole, "w") as file:
        for name in ("images", "features", "facts", "tallies"):
            values = getattr(examples, name)
            values = values.astype(np.float16) if name == "images" else values
            # who goes on with a set sees by the checksums what is damaged
            file.create_dataset(name, data=values, fletcher32=True)
        file.attrs.update({"schema": SCHEMA, "features": FEATURES, "classes": CLASSES})


def read_shard(path: Path, margin: int = 0) -> Examples:
    """Read images without a margin of so many pixels, features and facts.

    Raises
    ------
    FormatError
        Where the file cannot be read.
    """
    import h5py

    remedy = "make the set again: mlppa models dataset"
    try:
        with h5py.File(path) as file:
            res = file["images"].shape[1]
            middle = slice(margin, res - margin)
            facts = np.asarray(file["facts"]).astype(FACTS)
            images = file["images"][:, middle, middle]
            tallies = np.asarray(file["tallies"]).astype(TALLY)
            return Examples(images, file["features"][:], facts, tallies)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise FormatError(path, f"not a shard of images ({error})", remedy) from error


def make_dataset(
    folder: Path,
    draw: Draw,
    wanted: int,
    processes: int = 1,
    tell: Tell = silent,
    *,
    per_shard: int = SKIES_PER_SHARD,
) -> Dataset:
    """Simulate and search skies until there are so many images; shards that are there stay.

    Parameters
    ----------
    folder
        Of the set.
    draw
        Which skies; its number does not matter.
    wanted
        How many images.
    processes
        How many skies are searched at once.
    tell
        Is called with how many images there are.
    per_shard
        Skies whose images lie in one file.

    Raises
    ------
    FormatError
        Where the folder holds another set.
    SinkError
        Where it cannot be written.
    EnvironmentFault
        Where a process was killed, as one is where memory is short.
    """
    make_folder(folder)
    told = _told(draw, per_shard)
    _claim(folder, told)
    shards: list[Shard] = []
    with _workers(folder, processes) as pool:
        jobs: deque[Future[Shard]] = deque()
        number = 0
        while sum(shard.images for shard in shards) < wanted:
            while len(jobs) <= processes:
                jobs.append(pool.submit(_make_shard, folder, draw, number, per_shard))
                number += 1
            shards.append(jobs.popleft().result())
            tell("searching skies", min(sum(s.images for s in shards), wanted), wanted)
    for extra in range(len(shards), number):
        (folder / _name(extra)).unlink(missing_ok=True)
    shards[-1] = _part(folder, shards[-1], sum(s.images for s in shards) - wanted)
    facts = told | {
        "images": wanted,
        "pulses": sum(shard.pulses for shard in shards),
        "skies": per_shard * len(shards),
        "validation": f"skies whose number is a multiple of {VALIDATION}",
        "shards": [asdict(shard) for shard in shards],
    }
    write_whole(folder / MANIFEST, json.dumps(facts, indent=1).encode() + b"\n")
    return Dataset.load(folder)


@contextmanager
def _workers(folder: Path, processes: int) -> Iterator[ProcessPoolExecutor]:
    """Run processes that make shards in a folder; when they are left, they end at once."""
    others = set(active_children())
    context = get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin_work)
    try:
        yield pool
    except BrokenProcessPool as error:
        cause = "one of the processes that search skies was killed"
        raise EnvironmentFault("models dataset", cause, "take fewer --processes") from error
    finally:
        for process in set(active_children()) - others:
            process.terminate()
        pool.shutdown(cancel_futures=True)
        for part in folder.glob(".shard-*.part"):
            part.unlink()


def _begin_work() -> None:
    """Leave it to the one who waits to be interrupted, and do not tell of storms: many are."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("mlppa").setLevel(logging.ERROR)


def _told(draw: Draw, per_shard: int) -> dict[str, Any]:
    plain = asdict(draw) | {"recordings": [str(path) for path in draw.recordings]}
    del plain["number"]
    return {
        "schema": SCHEMA,
        "draw": plain,
        "skies_per_shard": per_shard,
        "features": list(FEATURES),
        "classes": list(CLASSES),
        "code": code_version(),
    }


def _claim(folder: Path, facts: dict[str, Any]) -> None:
    """See that what lies in the folder are shards of the same set."""
    mark = folder / f".{MANIFEST}.begun"
    told = json.dumps(facts).encode()
    if mark.exists() and mark.read_bytes() != told:
        cause = "holds images of another seed, size or kind of sky, or made by other code"
        raise FormatError(folder, cause, "choose another folder, or remove this one")
    write_whole(mark, told)
    (folder / MANIFEST).unlink(missing_ok=True)


def _name(number: int) -> str:
    return f"shard-{number:05d}.h5"


def _make_shard(folder: Path, draw: Draw, number: int, per_shard: int) -> Shard:
    """Simulate and search the skies of a shard, unless it is there and whole."""
    from ..dedisperse.engine import Engine

    path = folder / _name(number)
    examples = None
    if path.exists():
        with suppress(FormatError):  # what is damaged is made again
            examples = read_shard(path)
    if examples is None:
        first = number * per_shard
        draws = (replace(draw, number=first + i) for i in range(per_shard))
        with closing(Engine(1)) as kernel:
            examples = join(random_examples(one, kernel) for one in draws)
        write_shard(path, examples)
    labels = examples.labels
    return Shard(path.name, len(labels), int(labels.sum()), file_sha256(path))


def _part(folder: Path, shard: Shard, surplus: int) -> Shard:
    """Leave the last images of a shard out of the set; in the file they stay."""
    kept = shard.images - max(surplus, 0)
    labels = read_shard(folder / shard.name).labels[:kept]
    return replace(shard, images=kept, pulses=int(labels.sum()))
