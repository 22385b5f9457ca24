"""From a recipe to a model of the zoo: simulate, train, measure, write the card."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..config import SettingError
from ..data import BoolArray, Float32Array
from ..dedisperse import Kernel
from .architecture import OF_LISTS
from .card import code_version, prepare, save_model
from .examples import CLASSES, Examples, join, random_examples
from .fit import Fitted, fit, tensors
from .measures import Rate, Reliability, Scores, average_precision, roc_auc, threshold_for
from .recipe import HELD_OUT, Recipe
from .shards import Dataset, Tell
from .skies import SKY_PULSES, SKY_SAMPLES
from .supply import MOST_CHECKED, from_disk, simulated

log = logging.getLogger(__name__)

#: Gives probabilities of examples.
type Judge = Callable[[Examples], Float32Array]

#: Edges of the bins of S/N that recall is given in.
SNR_BINS = (5.2, 6.5, 7.0, 8.0, 10.0, 15.0, 30.0, 1000.0)

#: Candidates from here on count: the default threshold of a live search.
LIVE_SNR = 6.5

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


def silent(what: str, done: int, total: int) -> None:
    """Tell nobody how far it is."""


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
    metrics = measure(judge, unseen, threshold)
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


def measure(judge: Judge, examples: Examples, threshold: float) -> dict[str, Any]:
    """Measure a network on telescopes and interference that it was not trained on.

    Returns
    -------
    metrics
        Plain values, for candidates above the live threshold of S/N 6.5 except where a bin
        says otherwise: shares, and their number where that matters.
    """
    probabilities = judge(examples)
    live = examples.snrs >= LIVE_SNR
    scores = Scores.of(probabilities[live] >= threshold, examples.labels[live])
    p, labels = probabilities[live], examples.labels[live]
    said = probabilities >= threshold
    return {
        "examples": int(live.sum()),
        "pulses": int(labels.sum()),
        "accuracy": _rounded(scores.accuracy),
        "precision": _rounded(scores.precision),
        "recall": _rounded(scores.recall),
        "f1": round(scores.f1, 4),
        "false_positive_rate": _rounded(scores.false_positive_rate),
        "roc_auc": round(roc_auc(p, labels), 5),
        "average_precision": round(average_precision(p, labels), 5),
        "calibration_error": round(Reliability.of(p, labels).error, 4),
        "recall_by_snr": {
            f"{low:g} to {high:g}": _rounded(
                Rate.count(said[examples.labels & _bin(examples, low, high)])
            )
            for low, high in pairwise(SNR_BINS)
        },
        "false_positives_by_kind": {
            name: _of(said[live & ~examples.labels & (examples.facts["kind"] == number)])
            for number, name in enumerate(CLASSES)
            if name != "pulse"
        },
    }


def _bin(examples: Examples, low: float, high: float) -> BoolArray:
    return np.asarray((examples.snrs >= low) & (examples.snrs < high))


def _of(said: BoolArray) -> str:
    return f"{np.count_nonzero(said)} of {len(said)}"


def _rounded(rate: Rate) -> float | None:
    return round(rate.value, 4) if rate.of else None


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
