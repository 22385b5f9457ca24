"""The network: DM-time images in, probabilities out, at a fixed cost per batch."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from ..data import Budget, Classified, Float32Array, ImageBatch
from ..errors import ModelError
from ..images import FEATURES
from ..metrics import DT_RATIO, DT_SECONDS
from .card import ONNX, WEIGHTS, ModelCard, list_models, model_card
from .engines import (
    Device,
    Engine,
    Network,
    choose_engine,
    count_accelerators,
    finds_accelerator,
    quiet_stderr,
    with_onnx,
    with_tensorflow,
)
from .table import COLUMNS

__all__ = [
    "Classifier",
    "Device",
    "Engine",
    "ModelCard",
    "Network",
    "classify",
    "count_accelerators",
    "list_models",
    "load_model",
    "load_table",
    "model_card",
]


log = logging.getLogger(__name__)


class Classifier:
    """A loaded network, warmed up; probabilities do not depend on what else is in a batch.

    Parameters
    ----------
    card
        The model.
    network
        Probabilities (n,) of images (n, res, res) and features (n, number of features), n
        being at most ``batch``.
    batch
        Images per call of the network.
    engine, device
        What computes it, and where.
    """

    def __init__(
        self,
        card: ModelCard,
        network: Network,
        batch: int,
        engine: str = "python",
        device: str = "cpu",
    ) -> None:
        self.card = card
        self.engine = engine
        self.device = device
        self.name = card.name
        self.sha256 = card.digest(ONNX if engine == "onnx" else WEIGHTS)
        self.res = card.res
        self.batch = batch
        self._network = network
        self._columns = [FEATURES.index(name) for name in card.features]
        nothing = np.zeros((1, self.res, self.res), np.float32)
        self(nothing, np.zeros((1, len(FEATURES)), np.float32))

    def __call__(self, images: Float32Array, features: Float32Array) -> Float32Array:
        """Classify images.

        Parameters
        ----------
        images
            Shape (n, res, res), n of any size.
        features
            Shape (n, len(FEATURES)), all of `images.FEATURES`: the network takes those that
            its card names.

        Returns
        -------
        probabilities
            That each image shows a pulse, float32 in [0, 1], shape (n,), on the host.

        Raises
        ------
        ModelError
            Where the images do not fit the model, or are not all finite.
        """
        self._check(images, features)
        taken = features[:, self._columns]
        steps = range(0, len(images), self.batch)
        parts = [
            self._network(images[i : i + self.batch], taken[i : i + self.batch]) for i in steps
        ]
        return np.concatenate([np.empty(0, np.float32), *parts])

    def _check(self, images: Float32Array, features: Float32Array) -> None:
        wanted = ((len(images), self.res, self.res), (len(images), len(FEATURES)))
        if (images.shape, features.shape) != wanted:
            raise ModelError(
                f"model {self.name}",
                f"it takes images and features of shapes {wanted}, "
                f"not {(images.shape, features.shape)}",
                "choose a model for these images, or images for this model",
            )
        # A network can turn NaN into a probability like any other.
        if not (np.isfinite(images).all() and np.isfinite(features).all()):
            cause = "an image or a feature is not finite"
            raise ModelError(f"model {self.name}", cause, "mend the stage that cut the images")


def classify(
    batches: Iterable[ImageBatch], network: Network, tsamp_s: float
) -> Iterator[Classified]:
    """Classify the images of every batch and take the time.

    dT runs from having the images to having the probabilities on the host; the budget
    of a batch is the new sky that it stands for.
    """
    for batch in batches:
        start = time.perf_counter()
        probabilities = network(batch.images, batch.features)
        dt_s = time.perf_counter() - start
        coverage = batch.searched.coverage
        budget_s = (coverage.stop - coverage.start) * tsamp_s
        # without an image there is no dT: such batches would hide the others
        if isinstance(network, Classifier) and len(probabilities) and budget_s:
            of = (network.name, str(network.batch))
            DT_SECONDS.labels(*of).observe(dt_s)
            DT_RATIO.labels(*of).observe(dt_s / budget_s)
        yield Classified(batch, probabilities, Budget(dt_s=dt_s, budget_s=budget_s))


def load_model(
    name: str | Path, *, batch: int = 32, device: Device = "auto", engine: Engine = "auto"
) -> Classifier:
    """Load a model by name or folder, make it ready for one batch size and run it once.

    Parameters
    ----------
    batch
        Images per call of the network.
    device
        Where it runs; "auto" takes an accelerator where there is one.
    engine
        What computes it; "auto" takes TensorFlow on an accelerator, else ONNX Runtime.

    Raises
    ------
    ModelError
        Where the weights are missing, are not those of the card, or do not fit it.
    EnvironmentFault
        Where the device is not there.
    """
    card = model_card(name)
    _refuse_unfit(card)
    chosen = choose_engine(engine, device)
    if engine == "auto" and device != "gpu" and not (card.folder / WEIGHTS).exists():
        chosen = "onnx"  # large ones come for it alone
    if chosen == "tensorflow" and (engine, device) == ("auto", "auto") and not finds_accelerator():
        log.warning(
            "TensorFlow finds no accelerator, though this machine has one: ONNX Runtime computes "
            "on the CPU; mend the driver, or set the device to cpu"
        )
        chosen = "onnx"
    if chosen == "onnx":
        return Classifier(card, with_onnx(card), batch, chosen)
    with quiet_stderr():
        network = with_tensorflow(card, batch, device)
        place = "gpu" if device != "cpu" and finds_accelerator() else "cpu"
        return Classifier(card, network, batch, chosen, place)


def load_table(name: str | Path) -> Callable[[Float32Array], Float32Array]:
    """Load a model that judges lists of candidates: rows of `table.COLUMNS` to probabilities.

    Raises
    ------
    ModelError
        Where it judges images, or its weights are not to be had.
    """
    card = model_card(name)
    if card.res or card.features != COLUMNS:
        cause = "it does not judge lists of candidates"
        raise ModelError(f"model {card.name}", cause, "take one whose card has 0 pixels")
    network = with_onnx(card)
    return lambda rows: network(np.empty((len(rows), 0), np.float32), rows)


def _refuse_unfit(card: ModelCard) -> None:
    """Refuse what takes no images, or features that nobody measures."""
    if not card.res:
        cause = "it judges lists of candidates, not images"
        raise ModelError(f"model {card.name}", cause, "take one that has pixels")
    unknown = [name for name in card.features if name not in FEATURES]
    if unknown:
        cause = f"its features {', '.join(unknown)} are unknown"
        raise ModelError(f"model {card.name}", cause, "train it again with this version")
