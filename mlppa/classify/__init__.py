"""The network: DM-time images in, probabilities out, at a fixed cost per batch."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ..data import Budget, Classified, Float32Array, ImageBatch
from ..errors import ModelError
from ..metrics import DT_SECONDS
from .card import ModelCard, list_models, model_card
from .engines import (
    Device,
    Engine,
    Network,
    choose_engine,
    quiet_stderr,
    with_onnx,
    with_tensorflow,
)

__all__ = [
    "Classifier",
    "Device",
    "Engine",
    "ModelCard",
    "Network",
    "classify",
    "list_models",
    "load_model",
    "model_card",
]


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
    engine
        What computes it.
    """

    def __init__(
        self, card: ModelCard, network: Network, batch: int, engine: str = "python"
    ) -> None:
        self.card = card
        self.engine = engine
        self.name = card.name
        self.sha256 = card.sha256
        self.res = card.res
        self.batch = batch
        self._network = network
        self(np.zeros((1, self.res, self.res), np.float32), np.zeros((1, self._width), np.float32))

    @property
    def _width(self) -> int:
        return len(self.card.features)

    def __call__(self, images: Float32Array, features: Float32Array) -> Float32Array:
        """Classify images.

        Parameters
        ----------
        images
            Shape (n, res, res), n of any size.
        features
            Shape (n, number of features), in the order of `images.FEATURES`.

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
        steps = range(0, len(images), self.batch)
        parts = [
            self._network(images[i : i + self.batch], features[i : i + self.batch]) for i in steps
        ]
        return np.concatenate([np.empty(0, np.float32), *parts])

    def _check(self, images: Float32Array, features: Float32Array) -> None:
        wanted = ((len(images), self.res, self.res), (len(images), self._width))
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
        DT_SECONDS.observe(dt_s)
        coverage = batch.searched.coverage
        budget_s = (coverage.stop - coverage.start) * tsamp_s
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
    chosen = choose_engine(engine, device)
    if chosen == "onnx":
        return Classifier(card, with_onnx(card), batch, chosen)
    with quiet_stderr():
        return Classifier(card, with_tensorflow(card, batch, device), batch, chosen)
