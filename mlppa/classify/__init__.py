"""The network: DM-time images in, probabilities out, at a fixed cost per batch."""

import contextlib
import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .data import Budget, Classified, Float32Array, ImageBatch
from .errors import EnvironmentFault, ModelError
from .metrics import DT_SECONDS

log = logging.getLogger(__name__)

type Device = Literal["auto", "cpu", "gpu"]

#: Gives images (n, res, res) and their features (n, nfeatures) probabilities (n,).
type Network = Callable[[Float32Array, Float32Array], Float32Array]

WEIGHTS = "model.keras"
CARD = "card.json"


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a model is and where it comes from: the card beside its weights.

    Parameters
    ----------
    folder
        Where the weights and the card lie.
    name
        What messages call the model.
    res
        Pixels along either side of its images.
    features
        Names of the numbers that go with an image, as in `images.FEATURES`.
    sha256
        Of the weights' file.
    facts
        All of the card: training data and seeds, geometry, metrics.
    """

    folder: Path
    name: str
    res: int
    features: tuple[str, ...]
    sha256: str
    facts: Mapping[str, Any]


def models_folder() -> Path:
    """Where the models lie: inside an installed package, or beside it in a checkout."""
    inside = Path(__file__).parent / "_models"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "models"


def list_models() -> list[str]:
    """Names of the models that come with the program, in alphabetical order."""
    return sorted(card.parent.name for card in models_folder().glob(f"*/{CARD}"))


def model_card(name: str | Path) -> ModelCard:
    """Read the card of a model, given by its name or its folder.

    Raises
    ------
    ModelError
        Where there is no such model, or its card cannot be used.
    """
    folder = models_folder() / name if name in list_models() else Path(name)
    if not (folder / CARD).is_file():
        known = ", ".join(list_models()) or "none"
        raise ModelError(f"model {name}", "there is no such model", f"take one of: {known}")
    try:
        facts = json.loads((folder / CARD).read_text())
        return ModelCard(
            folder=folder,
            name=str(facts["name"]),
            res=int(facts["res"]),
            features=tuple(facts["features"]),
            sha256=str(facts["sha256"]),
            facts=facts,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        remedy = "train the model again or restore its folder"
        raise ModelError(folder / CARD, f"not a model card ({error!r})", remedy) from error


class Classifier:
    """A loaded network, compiled for one batch size and warmed up.

    Probabilities do not depend on what else is in a batch, nor on how it is padded.

    Parameters
    ----------
    card
        The model.
    network
        Probabilities (batch,) of images (batch, res, res) and features (batch, n).
    batch
        Images per call of the network.
    """

    def __init__(
        self,
        card: ModelCard,
        network: Callable[[Float32Array, Float32Array], Float32Array],
        batch: int,
    ) -> None:
        self.card = card
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
        count = len(images)
        padding = -count % self.batch
        images = np.pad(images, [(0, padding), (0, 0), (0, 0)])
        features = np.pad(features, [(0, padding), (0, 0)])
        steps = range(0, count, self.batch)
        parts = [
            self._network(images[i : i + self.batch], features[i : i + self.batch]) for i in steps
        ]
        return np.concatenate([np.empty(0, np.float32), *parts])[:count]

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


class OnDemand:
    """A network that is loaded when the first image is there, by `prepare`.

    A search that finds no candidate then never imports TensorFlow. Weights that are
    missing or damaged are refused at once, as is an accelerator that is not there.
    """

    def __init__(self, name: str | Path, *, batch: int = 32, device: Device = "auto") -> None:
        self._load = partial(load_model, name, batch=batch, device=device)
        self._classifier: Classifier | None = None
        verified_weights(model_card(name))
        if device == "gpu":
            self.prepare()

    def prepare(self) -> None:
        """Load the network, once."""
        if self._classifier is None:
            self._classifier = self._load()

    def __call__(self, images: Float32Array, features: Float32Array) -> Float32Array:
        """Classify images; see `Classifier`."""
        if not len(images):
            return np.empty(0, np.float32)
        self.prepare()
        assert self._classifier is not None
        return self._classifier(images, features)


def load_model(name: str | Path, *, batch: int = 32, device: Device = "auto") -> Classifier:
    """Load a model by name or folder, compile it for one batch size and run it once.

    Parameters
    ----------
    batch
        Images per call of the network.
    device
        Where it runs; "auto" takes an accelerator where there is one.

    Raises
    ------
    ModelError
        Where the weights are missing, are not those of the card, or do not fit it.
    EnvironmentFault
        Where the device is not there.
    """
    card = model_card(name)
    weights = verified_weights(card)
    with _quiet_stderr():
        return Classifier(card, _compile(card, weights, batch, device), batch)


def file_sha256(path: Path) -> str:
    """Digest of a file, as hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def verified_weights(card: ModelCard) -> Path:
    """Give the weights of a model after checking that they are those of its card.

    Raises
    ------
    ModelError
        Where they are missing or others.
    """
    weights = card.folder / WEIGHTS
    remedy = "restore the folder of the model, or train it again"
    if not weights.is_file():
        raise ModelError(weights, "there are no weights", remedy)
    if file_sha256(weights) != card.sha256:
        raise ModelError(weights, f"the sha256 is not the one in {CARD}", remedy)
    return weights


def _compile(
    card: ModelCard, weights: Path, batch: int, device: Device
) -> Callable[[Float32Array, Float32Array], Float32Array]:
    """Load the weights onto a device; give the network as one function of fixed shape."""
    keras, tf = import_keras()
    place = _place(tf, device)
    with tf.device(place):
        model = keras.saving.load_model(weights, compile=False)
    wanted = [(None, card.res, card.res, 1), (None, len(card.features))]
    if [tuple(tensor.shape) for tensor in model.inputs] != wanted:
        raise ModelError(weights, f"its inputs are not {wanted}", "correct the card or the weights")
    signature = [tf.TensorSpec((batch, *shape[1:]), tf.float32) for shape in wanted]

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
    def compiled(images: Any, features: Any) -> Any:
        return model([images, features], training=False)

    def network(images: Float32Array, features: Float32Array) -> Float32Array:
        with tf.device(place):
            return np.asarray(compiled(images[..., None], features))[:, 0]

    return network


def import_keras() -> tuple[Any, Any]:
    """Import Keras on TensorFlow, with little said: it takes seconds, so do it late.

    Raises
    ------
    EnvironmentFault
        Where Keras is in use on another backend.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _quiet_stderr():
        import keras
        import tensorflow as tf

    if keras.backend.backend() != "tensorflow":
        cause = f"Keras runs on {keras.backend.backend()} already"
        raise EnvironmentFault("TensorFlow", cause, "use another process")
    return keras, tf


def _place(tf: Any, device: Device) -> str:
    """Choose the device; an accelerator that is asked for must be there."""
    accelerators = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not accelerators:
        cause = "TensorFlow finds no accelerator"
        raise EnvironmentFault("device gpu", cause, "mend its driver, or set the device to cpu")
    # The same numbers as on a CPU, and memory left for whoever else computes there.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    for accelerator in accelerators:
        with contextlib.suppress(RuntimeError):  # in use already: it keeps its setting
            tf.config.experimental.set_memory_growth(accelerator, True)
    return "/GPU:0" if accelerators and device != "cpu" else "/CPU:0"


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Send to the debug log what C++ libraries write to the standard error at start."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            said.seek(0)
            for line in said.read().decode(errors="replace").splitlines():
                log.debug("%s", line)
