"""Train a network on a supply of examples: resumable, with curves, and calibrated."""

import csv
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..classify.engines import import_keras
from ..data import Float32Array
from ..disk import make_folder, write_whole
from ..errors import EnvironmentFault
from ..plots import plot_curves
from .architecture import OF_IMAGES, build
from .card import code_version
from .examples import Examples
from .measures import Calibration, calibrate
from .pretrain import pretrain
from .recipe import Recipe
from .shards import Tell
from .supply import Supply

log = logging.getLogger(__name__)

#: In the folder of a model while it is trained, and gone after: where to go on from.
BEGUN = ".training"
RECIPE = "recipe.json"
STATE = "state"

#: In the same folder: networks that this one learns of; see `teachers`.
TEACHERS = ".teachers"

#: What is told of every epoch, and stays with the model.
CURVES = "curves.csv"
COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")

#: Over a training the exponential schedule falls to this part.
FALLS_TO = 0.01

#: The first cycle of restarts is this part of the training: three of them fill it.
FIRST_CYCLE = 1 / 7

#: Gives probabilities of examples, shape (n,).
type Opinion = Callable[[Examples], Float32Array]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A network after training.

    Parameters
    ----------
    model
        The network with its best weights, calibrated.
    calibration
        How its outputs were brought to probabilities.
    epochs
        How many there were.
    """

    model: Any
    calibration: Calibration
    epochs: int


def fit(
    recipe: Recipe,
    supply: Supply,
    checked: Examples,
    folder: Path,
    tell: Tell,
    *,
    tensorboard: bool = False,
    opinion: Opinion | None = None,
) -> Fitted:
    """Train a network, and give it as it was when it did best on skies it was not shown.

    Parameters
    ----------
    recipe
        How.
    supply
        What it is shown.
    checked
        What tells when to stop, and calibrates.
    folder
        Of the model: curves are written there, and what is needed to go on after an
        interruption; a training by the same recipe, data and code goes on.
    tell
        Is called after every epoch.
    tensorboard
        Whether to write logs for TensorBoard, too.
    opinion
        What others think of examples, which it learns beside their labels.

    Raises
    ------
    EnvironmentFault
        Where TensorBoard is wanted and not installed.
    """
    if tensorboard and not has_tensorboard():
        cause, remedy = "it is not installed", "install it: pip install tensorboard"
        raise EnvironmentFault("TensorBoard", cause, remedy)
    keras, _ = import_keras()
    model = build(recipe.architecture, recipe.res, recipe.seed, recipe.initialiser)
    _begin(model, recipe, supply, folder / BEGUN)
    logits = keras.Model(model.inputs, model.layers[-1].input)
    steps = max(supply.count // recipe.batch, 1)
    optimizer = keras.optimizers.Adam(_rate(keras, recipe, steps * recipe.epochs))
    logits.compile(optimizer, loss=_loss(keras, recipe), weighted_metrics=[_accuracy(keras)])
    progress = _progress(keras, recipe, folder, tell)
    callbacks = [
        keras.callbacks.BackupAndRestore(folder / BEGUN / STATE, delete_checkpoint=False),
        progress,
        *([keras.callbacks.TensorBoard(folder / "tensorboard")] if tensorboard else []),
    ]
    logits.fit(
        batches(supply, recipe, model, opinion),
        validation_data=(tensors(checked, model), _targets(checked)),
        validation_batch_size=256,
        steps_per_epoch=steps,
        epochs=recipe.epochs,
        callbacks=callbacks,
        shuffle=False,  # the supply does
        verbose=0,
    )
    logits.load_weights(progress.best)
    calibration = calibrate(_pulse_logits(logits, checked, model), checked.labels)
    _fold(keras, model, calibration)
    if recipe.float16:
        model.set_weights([w.astype(np.float16).astype(w.dtype) for w in model.get_weights()])
    return Fitted(model, calibration, len(read_curves(folder / CURVES)["epoch"]))


def made_by(recipe: Recipe, supply: Supply) -> dict[str, Any]:
    """Tell all that a training comes from: another one does not go on with it."""
    return {
        "recipe": recipe.model_dump(mode="json"),
        "data": supply.origin,
        "code": code_version(),
    }


def forget_training(folder: Path) -> None:
    """Remove what would be needed to go on: the model is safe."""
    for name in (BEGUN, TEACHERS):
        shutil.rmtree(folder / name, ignore_errors=True)


def _begin(model: Any, recipe: Recipe, supply: Supply, begun: Path) -> None:
    """Forget what was begun otherwise, and pre-train where nothing is to go on from."""
    mark = begun / RECIPE
    told = json.dumps(made_by(recipe, supply))
    if begun.exists() and not (mark.exists() and mark.read_text() == told):
        log.warning(
            "%s: what was begun here is of another recipe, data or code; it begins anew",
            begun.parent,
        )
        shutil.rmtree(begun)
    fresh = not (begun / STATE).exists()
    if recipe.pretrain_epochs and recipe.architecture in OF_IMAGES and fresh:
        accuracy = pretrain(model, recipe, supply)
        log.info("%.1f %% of the images are told which way round they are", 100 * accuracy)
    make_folder(begun)
    write_whole(mark, told.encode())


def batches(
    supply: Supply, recipe: Recipe, model: Any, opinion: Opinion | None = None
) -> Iterator[tuple[tuple[Any, ...], Float32Array, Float32Array]]:
    """Give what a network takes, targets and weights, without end."""
    rng = np.random.default_rng((recipe.seed, 6))
    weigh = _weights(recipe)
    while True:
        for piece in supply.pieces(rng):
            targets = _targets(piece)
            if opinion is not None:
                targets += np.float32(recipe.trust) * (opinion(piece)[:, None] - targets)
            order = _order(piece, recipe, rng)
            # a short last batch counts only where there is no other
            for first in range(0, max(len(order) - recipe.batch + 1, 1), recipe.batch):
                which = order[first : first + recipe.batch]
                some = piece.take(which)
                inputs = tensors(some, model, lambda x: augmented(x, recipe, rng))
                yield inputs, targets[which], weigh(piece, some)


def tensors(
    examples: Examples, model: Any, change: Callable[[Float32Array], Float32Array] = lambda x: x
) -> tuple[NDArray[Any], ...]:
    """Give what a network takes of examples, in the order of its inputs."""
    names = [tensor.name for tensor in model.inputs]
    if names == ["features"]:
        return (examples.table,)
    images = change(examples.images.astype(np.float32))[..., None]
    return (images, examples.features) if "features" in names else (images,)


def augmented(images: Float32Array, recipe: Recipe, rng: np.random.Generator) -> Float32Array:
    """Move images by some pixels, and add noise, as the recipe says."""
    if recipe.shift_px:
        most = recipe.shift_px
        for image, shift in zip(
            images, rng.integers(-most, most + 1, (len(images), 2)), strict=True
        ):
            image[:] = np.roll(image, shift.tolist(), axis=(0, 1))
    if recipe.noise:
        more = rng.uniform(0, recipe.noise, (len(images), 1, 1)).astype(np.float32)
        images = images + more * rng.standard_normal(images.shape, np.float32)
    return images


def _order(piece: Examples, recipe: Recipe, rng: np.random.Generator) -> NDArray[np.intp]:
    """Order the examples of a piece; with oversampling the rarer class comes more than once."""
    everything = np.arange(len(piece.facts))
    if recipe.balance != "oversample":
        return everything
    pulses, others = np.flatnonzero(piece.labels), np.flatnonzero(~piece.labels)
    rare = min(pulses, others, key=len)
    if not len(rare):
        return everything
    missing = len(everything) - 2 * len(rare)
    return rng.permutation(np.concatenate([everything, rng.choice(rare, missing)]))


def _weights(recipe: Recipe) -> Callable[[Examples, Examples], Float32Array]:
    """Give what weighs some examples of a piece."""
    if recipe.balance != "weights":
        return lambda piece, some: np.ones(len(some.facts), np.float32)

    def weigh(piece: Examples, some: Examples) -> Float32Array:
        share = float(piece.labels.mean())
        each = np.where(some.labels, 0.5 / max(share, 1e-3), 0.5 / max(1 - share, 1e-3))
        return np.asarray(each, np.float32)

    return weigh


def _targets(examples: Examples) -> Float32Array:
    return examples.labels.astype(np.float32)[:, None]


def _rate(keras: Any, recipe: Recipe, steps: int) -> Any:
    first, schedules = recipe.learning_rate, keras.optimizers.schedules
    match recipe.schedule:
        case "cosine":
            return schedules.CosineDecay(first, steps, alpha=0.02)
        case "restarts":
            return schedules.CosineDecayRestarts(first, int(steps * FIRST_CYCLE) + 1, t_mul=2.0)
        case "exponential":
            return schedules.ExponentialDecay(first, steps, FALLS_TO)
        case "constant":
            return first


def _pulse_logit(z: Any) -> Any:
    """Log odds of a pulse, from one output or from one for each class."""
    return z if z.shape[-1] == 1 else z[:, 1:] - z[:, :1]


def _loss(keras: Any, recipe: Recipe) -> Callable[[Any, Any], Any]:
    """Cross-entropy of log odds, which is exact where probabilities would be 0 or 1."""

    def bce(truth: Any, z: Any) -> Any:
        return keras.losses.binary_crossentropy(truth, _pulse_logit(z), from_logits=True)

    def focal(truth: Any, z: Any) -> Any:
        return keras.losses.binary_focal_crossentropy(
            truth, _pulse_logit(z), gamma=recipe.focus, from_logits=True
        )

    return focal if recipe.loss == "focal" else bce


def _accuracy(keras: Any) -> Any:
    def accuracy(truth: Any, z: Any) -> Any:
        right = keras.ops.equal(_pulse_logit(z) > 0, truth > 0.5)
        return keras.ops.cast(right, "float32")

    return accuracy


def _pulse_logits(logits: Any, examples: Examples, model: Any) -> NDArray[np.float64]:
    z = logits.predict(tensors(examples, model), batch_size=256, verbose=0)
    return np.asarray(_pulse_logit(z)[:, 0], np.float64)


def _fold(keras: Any, model: Any, calibration: Calibration) -> None:
    """Put a calibration into the last dense layer: whoever computes it needs no more."""
    last = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)][-1]
    kernel, bias = last.get_weights()
    bias = bias / calibration.temperature
    bias[-1] += calibration.offset
    last.set_weights([kernel / calibration.temperature, bias])


def _progress(keras: Any, recipe: Recipe, folder: Path, tell: Tell) -> Any:
    """Make what writes the curves, keeps the best weights and stops without progress."""
    curves, best = folder / CURVES, folder / BEGUN / "best.weights.h5"

    class Progress(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.best = best

        def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
            if not best.exists():
                best.parent.mkdir(parents=True, exist_ok=True)
                curves.write_text(",".join(COLUMNS) + "\n")

        def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
            told = dict(logs or {})
            past = read_curves(curves)["val_loss"]
            told |= {"epoch": epoch, "learning_rate": float(self.model.optimizer.learning_rate)}
            with curves.open("a", newline="") as file:
                csv.writer(file).writerow([f"{told[name]:.6g}" for name in COLUMNS])
            if told["val_loss"] < min(past, default=np.inf):
                self.model.save_weights(best)
            elif len(past) - int(np.argmin(past)) >= recipe.patience:
                self.model.stop_training = True
            plot_curves(read_curves(curves), curves.with_suffix(".png"))
            tell("training", epoch + 1, recipe.epochs)

    return Progress()


def read_curves(path: Path) -> dict[str, list[float]]:
    """Read what was told of every epoch, by column."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in COLUMNS}


def has_tensorboard() -> bool:
    """Whether TensorBoard is installed."""
    return find_spec("tensorboard") is not None
