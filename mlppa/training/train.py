"""From a recipe to a model of the zoo: simulate, train, measure, write the card."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..classify.card import USUAL_THRESHOLD
from ..config import SettingError
from ..data import BoolArray, Float32Array
from ..dedisperse import Kernel
from .architecture import OF_LISTS
from .card import code_version, prepare, save_model
from .examples import LIVE_SNR, Examples, in_parts, random_examples
from .fit import Fitted, fit, forget_training, tensors
from .judging import Judge, Judged, Judgements, brief, scores
from .measures import threshold_for
from .recipe import HELD_OUT, Recipe
from .shards import Dataset, Tell, silent
from .skies import SKY_PULSES, SKY_SAMPLES, TELESCOPES
from .supply import from_disk, simulated
from .teachers import common_opinion, train_teachers

log = logging.getLogger(__name__)

#: So many of the others may pass, of skies that tell where to cut: under telescopes and
#: interference that are unlike all that was trained on a third more do, and 3 of 1000 are the
#: most that shall.
FALSE_POSITIVE_RATE = 0.002


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
        Where a set on disk is not of the recipe's skies, or nothing can be measured on it.
    """
    prepare(out)
    sets = sets or Sets()
    if sets.unseen:
        refuse_seen(sets.unseen, recipe.res)
    if sets.shown:
        _refuse_unlike(recipe, sets.shown)
        supply, checked = from_disk(sets.shown, recipe.res, tell)
    else:
        supply, checked = simulated(recipe, kernel, tell)
    if not supply.count or not len(checked.facts):
        cause = "there are no images to train on, or none that tell when to stop"
        raise SettingError("skies", cause, "simulate more skies, or more images")
    judges = train_teachers(recipe, supply, checked, out, tell)
    opinion = partial(common_opinion, judges) if judges else None
    fitted = fit(recipe, supply, checked, out, tell, tensorboard=tensorboard, opinion=opinion)
    judge = as_judge(fitted.model)
    live = checked.take(checked.snrs >= LIVE_SNR)
    threshold = _threshold(judge(live), live.labels)
    silent_yet = Judged(out.name, threshold, np.empty(0, np.float32), recipe.model_dump())
    measured = unseen_pieces(recipe, kernel, sets.unseen, tell)
    judgements = Judgements.by([silent_yet], [judge], measured)
    metrics = brief(scores(judgements, judgements.models[0]))
    card = facts(recipe, fitted, (supply.count, len(checked.facts)), sets)
    save_model(fitted.model, out, card | {"threshold": threshold, "metrics": metrics})
    forget_training(out)
    log.info("model %s: %s", out.name, metrics)


def _threshold(probabilities: Float32Array, labels: BoolArray) -> float:
    """Give the probability from which a candidate is a pulse; see `FALSE_POSITIVE_RATE`."""
    if labels.all():
        log.warning("there are no others to set the threshold on: it is %g", USUAL_THRESHOLD)
        return USUAL_THRESHOLD
    threshold = threshold_for(probabilities, labels, FALSE_POSITIVE_RATE)
    passing = float(np.mean(probabilities[~labels] >= threshold))
    if passing > FALSE_POSITIVE_RATE:
        log.warning("the network is certain of %.2g %% of the others: they pass", 100 * passing)
    return threshold


def _refuse_unlike(recipe: Recipe, dataset: Dataset) -> None:
    """Refuse to train on a set of other skies than the recipe's, or on those to measure on."""
    draw = dataset.facts["draw"]
    wanted = {
        "seed": recipe.sky_seed,
        "threshold": recipe.threshold,
        "recordings": [str(path) for path in recipe.recordings],
        "unseen": False,
        "parts": recipe.parts,
    }
    for name, value in wanted.items():
        if draw[name] != value:
            cause = f"its skies have {name} {draw[name]!r}, those of the recipe {value!r}"
            raise SettingError("data", cause, "make the set as the recipe says")


def refuse_seen(dataset: Dataset, res: int) -> None:
    """Refuse to measure on a set of skies that are trained on, or of images too small.

    Raises
    ------
    SettingError
        Where it is one.
    """
    if not dataset.facts["draw"]["unseen"]:
        cause = f"{dataset.folder} holds skies to train on"
        raise SettingError("unseen", cause, "make a set with `mlppa models dataset --unseen`")
    if res > dataset.res:
        cause = f"{dataset.folder} has images of {dataset.res} pixels, {res} are wanted"
        raise SettingError("unseen", cause, "make a set of larger images")


def as_judge(model: Any) -> Judge:
    """Give a Keras model as a function of examples."""

    def judge(examples: Examples) -> Float32Array:
        parts = []
        for some in in_parts(examples):
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


def facts(recipe: Recipe, fitted: Fitted, counts: tuple[int, int], sets: Sets) -> dict[str, Any]:
    """Give what the card of a model tells, but for its metrics.

    Parameters
    ----------
    counts
        How many images were shown, and how many told when to stop.
    """
    skies = sets.shown.facts["skies"] if sets.shown else recipe.skies
    measured = sets.unseen.facts if sets.unseen else None
    lists = recipe.architecture in OF_LISTS
    sort = "simulated skies" + (", some of them of recordings," if recipe.recordings else "")
    return {
        "summary": f"{recipe.architecture} network trained on {skies} {sort}".rstrip(","),
        "version": __version__,
        "license": "BSD-3-Clause",
        "recipe": recipe.model_dump(mode="json"),
        "training": {
            "data": f"{sort} through the live path (mlppa.training.skies)",
            "data_code": sets.shown.facts["code"] if sets.shown else code_version(),
            "skies": skies,
            "sky_samples": SKY_SAMPLES,
            "sky_bursts": SKY_PULSES,
            "shown": counts[0],
            "checked": counts[1],
            "epochs": fitted.epochs,
            "seeds": {
                "skies": recipe.sky_seed,
                "unseen": measured["draw"]["seed"] if measured else recipe.sky_seed + HELD_OUT,
            },
            "measured_skies": measured["skies"] if measured else recipe.held_out,
            "measured_parts": measured["draw"]["parts"] if measured else recipe.parts,
            "measured_code": measured["code"] if measured else code_version(),
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
        "telescopes": TELESCOPES,
    }
