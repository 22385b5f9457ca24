"""From a recipe to a model of the zoo: simulate, train, measure, write the card."""

import logging
import tomllib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from .. import __version__
from ..classify.engines import import_keras
from ..config import checked
from ..config.words import told
from ..data import Float32Array
from ..dedisperse import Kernel
from ..errors import ConfigError
from ..simulate import Kind
from .architecture import ARCHITECTURES, build
from .card import code_version, prepare, save_model
from .dataset import SKY_PULSES, SKY_SAMPLES, Draw, Examples, join, random_examples

log = logging.getLogger(__name__)

type Network = Callable[[Float32Array, Float32Array], Float32Array]
type Natural = Annotated[int, Field(ge=1)]

#: Is called with what is being done, how much of it is, and of how much.
type Tell = Callable[[str, int, int], None]

#: Edges of the bins of S/N that recall is given in.
SNR_BINS = (5.5, 6.5, 8.0, 10.0, 15.0, 30.0, 1000.0)

#: Candidates from here on count: the default threshold of a live search.
LIVE_SNR = 6.5

#: Every so many skies, one tells when to stop and is not trained on.
VALIDATION = 8

#: The skies that models are measured on have a seed of their own.
HELD_OUT = 1_000_000_007


def _known(architecture: str) -> str:
    if architecture not in ARCHITECTURES:
        raise told(f"{architecture!r} is unknown", f"take one of: {', '.join(ARCHITECTURES)}")
    return architecture


def _silent(what: str, done: int, total: int) -> None:
    pass


class Recipe(BaseModel):
    """All that makes a model; the same recipe and code give the same examples.

    Parameters
    ----------
    architecture
        A name in `architecture.ARCHITECTURES`.
    res
        Pixels along either side of an image.
    seed
        Of the skies, the first weights and the order of training.
    skies, held_out
        Simulated observations to train on; and to measure on, for each kind of
        interference and for a mixture of all.
    threshold
        S/N of the search: low, so that peaks of noise are among the examples.
    epochs, patience
        Most passes over the examples, and how many without progress end the training.
    batch, learning_rate
        Of the optimiser (Adam).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: Annotated[str, AfterValidator(_known)] = "strided"
    res: Literal[32, 64, 128, 256] = 64
    seed: Annotated[int, Field(ge=0)] = 1
    skies: Annotated[int, Field(ge=VALIDATION)] = 800
    held_out: Natural = 10
    threshold: Annotated[float, Field(ge=5, le=20)] = 5.5
    epochs: Natural = 25
    patience: Natural = 10
    batch: Natural = 64
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 1e-3

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a recipe in TOML.

        Raises
        ------
        ConfigError
            If it cannot be read, or says something that cannot be.
        """
        try:
            content = tomllib.loads(path.read_text())
        except OSError as error:
            raise ConfigError(path, str(error.strerror), "give a recipe in TOML") from error
        except ValueError as error:
            raise ConfigError(path, f"not TOML: {error}", "correct that line") from error
        return checked(cls, content, str(path))


def train(recipe: Recipe, out: Path, kernel: Kernel, tell: Tell = _silent) -> None:
    """Train a model by a recipe and write it, with its card, into the folder ``out``.

    Takes minutes to an hour on a core.

    Raises
    ------
    SinkError
        Where the folder cannot be written; told before anything is computed.
    """
    prepare(out)
    examples = gather(recipe, kernel, tell)
    model = fit(recipe, examples, tell)
    metrics = evaluate(as_network(model), recipe, kernel, tell)
    save_model(model, out, facts(recipe, examples, metrics))
    log.info("model %s: %s", out.name, metrics)


def gather(recipe: Recipe, kernel: Kernel, tell: Tell = _silent) -> Examples:
    """Simulate and search the skies to train on."""
    parts = []
    for number in range(recipe.skies):
        draw = Draw(recipe.seed, number, recipe.res, recipe.threshold)
        parts.append(random_examples(draw, kernel))
        tell("searching skies", number + 1, recipe.skies)
        if number % 20 == 19:
            log.info("%d of %d skies searched", number + 1, recipe.skies)
    return join(parts)


def fit(recipe: Recipe, examples: Examples, tell: Tell = _silent) -> Any:
    """Train a network, and give it as it was when it did best on skies it was not shown."""
    keras, _ = import_keras()
    model = build(recipe.architecture, recipe.res, recipe.seed)
    steps = recipe.epochs * len(examples.labels) // recipe.batch
    rate = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, steps, alpha=0.02)
    model.compile(optimizer=keras.optimizers.Adam(rate), loss="binary_crossentropy")
    unseen = examples.skies % VALIDATION == 0
    shown, checked_on = examples.take(~unseen), examples.take(unseen)
    share = float(shown.labels.mean())

    def end_epoch(epoch: int, logs: dict[str, float]) -> None:
        log.info("epoch %d: loss %.4f, unseen %.4f", epoch, logs["loss"], logs["val_loss"])
        tell("training", epoch + 1, recipe.epochs)

    model.fit(
        *_tensors(shown),
        validation_data=_tensors(checked_on),
        epochs=recipe.epochs,
        batch_size=recipe.batch,
        class_weight={0: 0.5 / (1 - share), 1: 0.5 / share},
        callbacks=[
            keras.callbacks.EarlyStopping(patience=recipe.patience, restore_best_weights=True),
            keras.callbacks.LambdaCallback(on_epoch_end=end_epoch),
        ],
        verbose=0,
    )
    # A fresh one has the weights without the optimiser, which is twice as large.
    trained = build(recipe.architecture, recipe.res, recipe.seed)
    trained.set_weights(model.get_weights())
    return trained


def as_network(model: Any) -> Network:
    """Give a Keras model as a plain function."""

    def network(images: Float32Array, features: Float32Array) -> Float32Array:
        inputs = [images[..., None], features]
        return np.asarray(model.predict(inputs, batch_size=256, verbose=0)[:, 0], np.float32)

    return network


def evaluate(
    network: Network, recipe: Recipe, kernel: Kernel, tell: Tell = _silent
) -> dict[str, Any]:
    """Measure a network on skies of their own: one kind of interference, or a mixture.

    Returns
    -------
    metrics
        Plain values: accuracy; recall in bins of S/N; and the share of images without a
        pulse that it takes for one, in all and by the interference of their skies, which
        have peaks of noise too. For candidates above the live threshold of S/N 6.5 except
        where a bin or ``_noise`` says otherwise.
    """
    kinds: dict[str, Examples] = {}
    every_kind = (*get_args(Kind.__value__), None)
    for order, kind in enumerate(every_kind):
        numbers = range(order * recipe.held_out, (order + 1) * recipe.held_out)
        draws = [Draw(recipe.seed + HELD_OUT, n, recipe.res, recipe.threshold) for n in numbers]
        name = kind or "mixture"
        kinds[name] = join(random_examples(draw, kernel, kind) for draw in draws)
        log.info("measured on skies with %s", name)
        tell("measuring", order + 1, len(every_kind))
    said = {kind: network(one.images, one.features) > 0.5 for kind, one in kinds.items()}
    wrong = {}
    for kind, one in kinds.items():
        others = said[kind][~one.labels & (one.snrs >= LIVE_SNR)]
        wrong[kind] = f"{np.count_nonzero(others)} of {len(others)}"
    every = join(kinds.values())
    return _scores(every, np.concatenate(list(said.values()))) | {"false_positives_by_kind": wrong}


def facts(recipe: Recipe, examples: Examples, metrics: dict[str, Any]) -> dict[str, Any]:
    """Give what the card of a model tells."""
    return {
        "summary": f"{recipe.architecture} network trained on {recipe.skies} simulated skies",
        "version": __version__,
        "license": "BSD-3-Clause",
        "recipe": recipe.model_dump(),
        "training": {
            "data": "simulated skies through the live path (mlppa.training.dataset)",
            "sky_samples": SKY_SAMPLES,
            "sky_pulses": SKY_PULSES,
            "pulses": int(examples.labels.sum()),
            "others": int((~examples.labels).sum()),
            "seeds": {"training": recipe.seed, "held_out": recipe.seed + HELD_OUT},
            "code": code_version(),
        },
        "geometry": {
            "column": "a pixel of 2**octave samples, referred to the band's mean delay",
            "row": "a pixel of sweep, the highest DM last",
            "pulse_at": [recipe.res // 2, recipe.res // 2],
            "octave": "floor(log2(boxcar in samples)) - 1, at least 0",
            "telescopes": "0.3-4 GHz, band 5-60 %, 64-1024 channels, 40 us - 2 ms, 1-32 bit",
        },
        "metrics": metrics,
    }


def _tensors(examples: Examples) -> tuple[list[NDArray[Any]], NDArray[Any]]:
    labels = examples.labels.astype(np.float32)[:, None]
    return [examples.images[..., None], examples.features], labels


def _scores(examples: Examples, said: NDArray[np.bool_]) -> dict[str, Any]:
    labels, snrs = examples.labels, examples.snrs
    live = snrs >= LIVE_SNR
    return {
        "accuracy": _rate(said == labels, live),
        "recall": _rate(said, labels & live),
        "recall_by_snr": {
            f"{low:g} to {high:g}": _rate(said, labels & (snrs >= low) & (snrs < high))
            for low, high in pairwise(SNR_BINS)
        },
        "false_positive_rate": _rate(said, ~labels & live),
        "false_positive_rate_noise": _rate(said, ~labels & ~live),
        "pulses": int((labels & live).sum()),
        "others": int((~labels & live).sum()),
    }


def _rate(said: NDArray[np.bool_], of: NDArray[np.bool_]) -> float | None:
    """Share of the chosen ones, to four digits; None where there are none."""
    return round(float(said[of].mean()), 4) if of.any() else None
