"""Where the examples of a training come from: memory, shards on disk, or skies as they come."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ..dedisperse import Kernel
from .examples import Examples, join, random_examples
from .recipe import Recipe
from .shards import VALIDATION, Dataset, Tell, is_validation, validates

#: What of a set is kept in memory, in bytes; what is larger comes from the disk again in
#: every epoch.
MOST_HELD_BYTES = 4 << 30

#: Images in a piece of those in memory.
PIECE = 32768

#: Pieces that are mixed with each other, where not all of a set is.
MIXED = 6

#: Images that tell when to stop and where to cut: more would tell no more.
MOST_CHECKED = 40_000


class Supply(Protocol):
    """Gives all examples again in every epoch, in pieces of any size and any order."""

    @property
    def count(self) -> int:
        """How many there are, about."""

    def pieces(self, rng: np.random.Generator) -> Iterator[Examples]:
        """Give them all."""


@dataclass(frozen=True, slots=True)
class Held:
    """Examples in memory."""

    examples: Examples

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

    @property
    def count(self) -> int:
        """How many there are to train on, about."""
        return self.dataset.images * (VALIDATION - 1) // VALIDATION

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

    @property
    def count(self) -> int:
        """How many there are to train on, about."""
        return int(self.recipe.skies * (VALIDATION - 1) / VALIDATION * self.per_sky)

    def pieces(self, rng: np.random.Generator) -> Iterator[Examples]:
        """Give the images of some skies together, in a new order."""
        shown = [n for n in range(self.recipe.skies) if not is_validation(n)]
        order = rng.permutation(shown).tolist()
        for first in range(0, len(order), MIXED**2):
            draws = [replace(self.recipe.draw(), number=n) for n in order[first : first + MIXED**2]]
            some = join(random_examples(draw, self.kernel) for draw in draws)
            yield some.take(rng.permutation(len(some.facts)))


def _trained_on(examples: Examples) -> Examples:
    return examples.take(~validates(examples))


def from_disk(dataset: Dataset, res: int, tell: Tell) -> tuple[Supply, Examples]:
    """Give the examples of a set on disk to train on, and those that tell when to stop."""
    nbytes = dataset.images * res * res * 2
    shown, checked = [], []
    for number, shard in enumerate(dataset.shards):
        examples = dataset.read(shard, res)
        checked.append(examples.take(validates(examples)))
        if nbytes <= MOST_HELD_BYTES:
            shown.append(_trained_on(examples))
        tell("reading", number + 1, len(dataset.shards))
    supply: Supply = Held(join(shown)) if shown else OnDisk(dataset, res)
    return supply, _some(join(checked))


def simulated(recipe: Recipe, kernel: Kernel, tell: Tell) -> tuple[Supply, Examples]:
    """Simulate and search skies; all of them at once if their images fit into memory."""
    checked = [n for n in range(recipe.skies) if is_validation(n)]
    others = [n for n in range(recipe.skies) if not is_validation(n)]
    parts: list[Examples] = []
    for number in checked:
        parts.append(random_examples(replace(recipe.draw(), number=number), kernel))
        tell("searching skies", len(parts), recipe.skies)
    per_sky = sum(len(part.facts) for part in parts) / len(parts)
    if per_sky * len(others) * recipe.res**2 * 2 > MOST_HELD_BYTES:
        return Simulated(recipe, kernel, per_sky), _some(join(parts))
    shown: list[Examples] = []
    for number in others:
        shown.append(random_examples(replace(recipe.draw(), number=number), kernel))
        tell("searching skies", len(parts) + len(shown), recipe.skies)
    return Held(join(shown)), _some(join(parts))


def _some(examples: Examples) -> Examples:
    """Leave some out, where there are too many."""
    step = -(-len(examples.facts) // MOST_CHECKED)
    return examples.take(np.arange(0, len(examples.facts), step))
