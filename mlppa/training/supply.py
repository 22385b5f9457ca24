"""Where the examples of a training come from: memory, shards on disk, or skies as they come."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ..dedisperse import Kernel
from .examples import Examples, join, random_examples
from .recipe import Recipe
from .shards import Dataset, Tell, validates
from .skies import VALIDATION, Draw

#: What of a set is kept in memory, in bytes; what is larger comes from the disk again in
#: every epoch.
MOST_HELD_BYTES = 4 << 30

#: Images in a piece of those in memory.
PIECE = 32768

#: Pieces that are mixed with each other, where not all of a set is.
MIXED = 6

#: Images that tell when to stop and where to cut, about: more would tell no more, and they are
#: in memory, of large ones as many as are so many bytes.
MOST_CHECKED = 40_000
MOST_CHECKED_BYTES = 2 << 30


class Supply(Protocol):
    """Gives all examples again in every epoch, in pieces of any size and any order."""

    @property
    def origin(self) -> str:
        """What tells these examples from others: who goes on with a training asks."""

    @property
    def count(self) -> int:
        """How many there are, about."""

    def pieces(self, rng: np.random.Generator) -> Iterator[Examples]:
        """Give them all."""


@dataclass(frozen=True, slots=True)
class Held:
    """Examples in memory."""

    examples: Examples
    origin: str = "simulated"

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.examples.facts)

    def pieces(self, rng: np.random.Generator) -> Iterator[Examples]:
        """Give them in a new order, some at a time: a copy of all would take twice the memory."""
        order = rng.permutation(self.count)
        for first in range(0, self.count, PIECE):
            yield self.examples.take(order[first : first + PIECE])


@dataclass(frozen=True, slots=True)
class OnDisk:
    """Shards, of which some are in memory at a time."""

    dataset: Dataset
    res: int
    count: int

    @property
    def origin(self) -> str:
        """Digest of the set."""
        return self.dataset.sha256

    def pieces(self, rng: np.random.Generator) -> Iterator[Examples]:
        """Give some shards together, in a new order."""
        order = rng.permutation(len(self.dataset.shards)).tolist()
        for first in range(0, len(order), MIXED):
            shards = [self.dataset.shards[number] for number in order[first : first + MIXED]]
            some = join(_trained_on(self.dataset.read(shard, self.res)) for shard in shards)
            yield some.take(rng.permutation(len(some.facts)))


@dataclass(frozen=True, slots=True)
class Simulated:
    """Skies that are simulated and searched anew in every epoch: nothing is kept."""

    recipe: Recipe
    kernel: Kernel
    per_sky: float
    origin: str = "simulated"

    @property
    def count(self) -> int:
        """How many there are to train on, about."""
        return int(self.recipe.skies * (VALIDATION - 1) / VALIDATION * self.per_sky)

    def pieces(self, rng: np.random.Generator) -> Iterator[Examples]:
        """Give the images of some skies together, in a new order."""
        draws = [draw for draw in _draws(self.recipe) if not draw.validates]
        order = rng.permutation(len(draws)).tolist()
        for first in range(0, len(order), MIXED**2):
            some = join(
                random_examples(draws[number], self.kernel)
                for number in order[first : first + MIXED**2]
            )
            yield some.take(rng.permutation(len(some.facts)))


def _trained_on(examples: Examples) -> Examples:
    return examples.take(~validates(examples))


def from_disk(dataset: Dataset, res: int, tell: Tell) -> tuple[Supply, Examples]:
    """Give the examples of a set on disk to train on, and those that tell when to stop."""
    nbytes = dataset.images * res * res * 2
    step = _step(dataset.images // VALIDATION, res)
    shown, checked = [], []
    count = seen = 0
    for number, shard in enumerate(dataset.shards):
        examples = dataset.read(shard, res)
        unseen = np.flatnonzero(validates(examples))
        checked.append(examples.take(unseen[-seen % step :: step]))
        seen += len(unseen)
        count += len(examples.facts) - len(unseen)
        if nbytes <= MOST_HELD_BYTES:
            shown.append(_trained_on(examples))
        tell("reading", number + 1, len(dataset.shards))
    if shown:
        return Held(join(shown), dataset.sha256), join(checked)
    return OnDisk(dataset, res, count), join(checked)


def simulated(recipe: Recipe, kernel: Kernel, tell: Tell) -> tuple[Supply, Examples]:
    """Simulate and search skies; all of them at once if their images fit into memory."""
    draws = list(_draws(recipe))
    others = [draw for draw in draws if not draw.validates]
    checked: list[Examples] = []
    for draw in (draw for draw in draws if draw.validates):
        checked.append(random_examples(draw, kernel))
        tell("searching skies", len(checked), recipe.skies)
    count = sum(len(part.facts) for part in checked)
    per_sky = count / len(checked)
    step = _step(count, recipe.res)
    some = join(part.take(np.arange(0, len(part.facts), step)) for part in checked)
    if per_sky * len(others) * recipe.res**2 * 2 > MOST_HELD_BYTES:
        return Simulated(recipe, kernel, per_sky), some
    shown: list[Examples] = []
    for draw in others:
        shown.append(random_examples(draw, kernel))
        tell("searching skies", len(checked) + len(shown), recipe.skies)
    return Held(join(shown)), some


def _draws(recipe: Recipe) -> Iterator[Draw]:
    return (replace(recipe.draw(), number=number) for number in range(recipe.skies))


def _step(count: int, res: int) -> int:
    """Tell of how many examples one is taken to check on, where there are so many."""
    most = min(MOST_CHECKED, MOST_CHECKED_BYTES // (2 * res * res))
    return max(-(-count // most), 1)
