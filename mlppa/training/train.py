"""From a recipe to a model of the zoo: simulate, train, measure, write the card."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..config import SettingError
from ..data import Float32Array
from ..dedisperse import Kernel
from .architecture import OF_LISTS
from .card import code_version, prepare, save_model
from .examples import LIVE_SNR, Examples, join, random_examples
from .fit import Fitted, fit, tensors
from .judging import Judge, Judged, Judgements, brief, scores
from .measures import threshold_for
from .recipe import HELD_OUT, Recipe
from .shards import Dataset, Tell, silent
from .skies import SKY_PULSES, SKY_SAMPLES
from .supply import MOST_CHECKED, from_disk, simulated

log = logging.getLogger(__name__)

#: So many of the others may pass, of skies that tell where to cut.
FALSE_POSITIVE_RATE = 0.003


@dataclass(frozen=True, slots=True)
class Sets:
    """Where examples come from; None: they are simulated as the recipe says.

    Parameters
    ----------
    shown
        To train on, and to tell when to stop.
    unseen
        To measure on.
    """

    shown: Dataset | None = None
    unseen: Dataset | None = None


def train(
    recipe: Recipe,
    out: Path,
    kernel: Kernel,
    sets: Sets | None = None,
    tell: Tell = silent,
    *,
    tensorboard: bool = False,
) -> None:
    """Train a model by a recipe and write it, with its card, into the folder ``out``.

    Takes minutes to hours on a core. What was interrupted goes on when it is called again.

    Raises
    ------
    SinkError
        Where the folder cannot be written; told before anything is computed.
    SettingError
        Where a set on disk is not of the recipe's skies.
    """
    prepare(out)
    sets = sets or Sets()
    if sets.shown:
        _refuse_unlike(recipe, sets.shown)
        supply, checked = from_disk(sets.shown, recipe.res, tell)
    else:
        supply, checked = simulated(recipe, kernel, tell)
    if not supply.count or not len(checked.facts):
        cause = "there are no images to train on, or none that tell when to stop"
        raise SettingError("skies", cause, "simulate more skies, or more images")
    fitted = fit(recipe, supply, checked, out, tell, tensorboard=tensorboard)
    judge = as_judge(fitted.model)
    live = checked.take(checked.snrs >= LIVE_SNR)
    threshold = threshold_for(judge(live), live.labels, FALSE_POSITIVE_RATE)
    unseen = join(unseen_pieces(recipe, kernel, sets.unseen, tell))
    said = Judged(out.name, threshold, judge(unseen))
    metrics = brief(scores(Judgements(unseen.facts, unseen.snrs, (said,), unseen.tallies), said))
    card = facts(recipe, fitted, supply.count, len(checked.facts), sets.shown)
    save_model(fitted.model, out, card | {"threshold": threshold, "metrics": metrics})
    log.info("model %s: %s", out.name, metrics)


def _refuse_unlike(recipe: Recipe, dataset: Dataset) -> None:
    draw = dataset.facts["draw"]
    if (draw["seed"], draw["unseen"]) != (recipe.sky_seed, False):
        cause = f"its skies are those of seed {draw['seed']}, the recipe's of {recipe.sky_seed}"
        raise SettingError("data", cause, "make the set with the seed of the recipe")


def as_judge(model: Any) -> Judge:
    """Give a Keras model as a function of examples."""

    def judge(examples: Examples) -> Float32Array:
        parts = []
        for first in range(0, len(examples.facts), 1024):
            some = examples.take(np.arange(first, min(first + 1024, len(examples.facts))))
            parts.append(model.predict(tensors(some, model), batch_size=256, verbose=0)[:, -1])
        return np.concatenate([np.empty(0, np.float32), *parts]).astype(np.float32)

    return judge


def unseen_pieces(
    recipe: Recipe, kernel: Kernel, dataset: Dataset | None, tell: Tell
) -> Iterator[Examples]:
    """Give what models are measured on, piece by piece."""
    if dataset is not None:
        for number, shard in enumerate(dataset.shards):
            yield dataset.read(shard, recipe.res)
            tell("measuring", number + 1, len(dataset.shards))
        return
    for number in range(recipe.held_out):
        yield random_examples(replace(recipe.draw_unseen(), number=number), kernel)
        tell("measuring", number + 1, recipe.held_out)


def facts(
    recipe: Recipe, fitted: Fitted, shown: int, checked: int, dataset: Dataset | None
) -> dict[str, Any]:
    """Give what the card of a model tells, but for its metrics."""
    skies = dataset.facts["skies"] if dataset else recipe.skies
    lists = recipe.architecture in OF_LISTS
    return {
        "summary": f"{recipe.architecture} network trained on {skies} simulated skies",
        "version": __version__,
        "license": "BSD-3-Clause",
        "recipe": recipe.model_dump(mode="json"),
        "training": {
            "data": "simulated skies through the live path (mlppa.training.skies)",
            "skies": skies,
            "sky_samples": SKY_SAMPLES,
            "sky_bursts": SKY_PULSES,
            "shown": shown,
            "checked": min(checked, MOST_CHECKED),
            "epochs": fitted.epochs,
            "seeds": {"skies": recipe.sky_seed, "unseen": recipe.sky_seed + HELD_OUT},
            "temperature": round(fitted.calibration.temperature, 4),
            "offset": round(fitted.calibration.offset, 4),
            "code": code_version(),
        },
        "geometry": {"row": "of a list of candidates"} if lists else _geometry(recipe),
    }


def _geometry(recipe: Recipe) -> dict[str, Any]:
    return {
        "column": "a pixel of 2**octave samples, referred to the band's mean delay",
        "row": "a pixel of sweep, the highest DM last",
        "pulse_at": [recipe.res // 2, recipe.res // 2],
        "octave": "floor(log2(boxcar in samples)) - 1, at least 0",
        "telescopes": "0.3-4 GHz, band 5-140 %, 64-1024 channels, 40 us - 2 ms, 1-32 bit",
    }
