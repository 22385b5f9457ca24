"""Networks that are trained first, and whose common opinion another one learns.

Several networks of other first weights err in other places; what they say on average is better
than what any of them says, and tells more of an image than its label does. One network learns
that and is as fast as each of them. After Hinton, Vinyals & Dean 2015 (arXiv:1503.02531).
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..data import Float32Array
from ..disk import write_whole
from .card import save_model
from .examples import Examples
from .fit import TEACHERS, fit, forget_training, made_by
from .judging import Judge, judge_of
from .recipe import Recipe
from .shards import Tell
from .supply import Supply

#: The first of their seeds, whatever the seed of who learns: so several can learn of the same.
FIRST_SEED = 101

#: In the folder of a teacher that is ready: what made it.
MARK = "made_by.json"

#: No network is surer than this.
MOST_SURE = 1e-6


def train_teachers(
    recipe: Recipe, supply: Supply, checked: Examples, folder: Path, tell: Tell
) -> list[Judge]:
    """Train as many networks as a recipe says; those that are there already stay.

    Parameters
    ----------
    recipe
        Of who learns of them: theirs is the same, but for the seed.
    supply, checked
        As in `fit.fit`.
    folder
        Of the model that learns of them: they lie in it until it is saved.

    Returns
    -------
    teachers
        Each gives probabilities of examples.
    """
    judges = []
    for seed in range(FIRST_SEED, FIRST_SEED + recipe.teachers):
        own = recipe.model_copy(update={"seed": seed, "teachers": 0})
        place = folder / TEACHERS / f"seed-{seed}"
        source = made_by(own, supply)
        told = json.dumps(source).encode()
        mark = place / MARK
        if not mark.exists() or mark.read_bytes() != told:
            fitted = fit(own, supply, checked, place, tell)
            save_model(fitted.model, place, source)
            forget_training(place)
            write_whole(mark, told)
        judges.append(judge_of(place))
    return judges


def common_opinion(teachers: Sequence[Judge], examples: Examples) -> Float32Array:
    """Give the mean of what networks say, as log odds, brought back to probabilities (n,)."""
    odds = np.zeros(len(examples.facts))
    for judge in teachers:
        p = np.clip(judge(examples).astype(np.float64), MOST_SURE, 1 - MOST_SURE)
        odds += np.log(p / (1 - p)) / len(teachers)
    return np.asarray(1 / (1 + np.exp(-odds)), np.float32)
