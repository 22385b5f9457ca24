"""The networks: plain Keras layers only, so that any Keras 3 can load them.

Every network takes images (RES, RES, 1) in units of noise and the features of
`images.FEATURES`, both raw: normalisation is its first layer.
"""

from collections.abc import Callable
from typing import Any

from ..classify.engines import import_keras
from ..errors import ConfigError
from ..images import FEATURES

#: Mean and standard deviation of log(1 + feature): what brings them to about -1 to 1.
_FEATURE_MEAN = (2.0, 2.5, 0.3, 0.9)
_FEATURE_STD = (0.5, 0.8, 0.2, 0.4)

#: Noise added to the standardised image while training, and only then: it keeps the network
#: from learning the noise of its examples (0, 0.3, 0.6 and 1 were tried).
_TRAINING_NOISE = 1.0


def strided(res: int) -> Any:
    """Build the small network: strided convolutions, then centre, mean and peak of the map.

    The candidate stands in the middle of its image, so the centre is told apart; mean
    and peak show what else there is.

    Returns
    -------
    model
        A Keras model with inputs (n, res, res, 1) and (n, 4) and output (n, 1).
    """
    keras, _ = import_keras()
    image, features = _inputs(keras, res)
    x = keras.layers.GaussianNoise(_TRAINING_NOISE)(_standardise(keras, image))
    for filters in (12, 24, 32, 40):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(x)
    middle = keras.layers.Cropping2D((x.shape[1] - 2) // 2)(x)
    seen = [
        keras.layers.GlobalAveragePooling2D()(middle),
        keras.layers.GlobalAveragePooling2D()(x),
        keras.layers.GlobalMaxPooling2D()(x),
    ]
    return _decide(keras, image, features, seen, 32)


def stacked(res: int, layers: int = 3) -> Any:
    """Build a network of ``layers`` convolutions, each with pooling, and a dense layer.

    The form of the ML-PPA networks, named by resolution and depth (64_3 for ``res`` 64).
    """
    keras, _ = import_keras()
    image, features = _inputs(keras, res)
    x = _standardise(keras, image)
    for layer in range(layers):
        x = keras.layers.Conv2D(8 << layer, 3, padding="same", activation="relu")(x)
        x = keras.layers.MaxPooling2D(2)(x)
    return _decide(keras, image, features, [keras.layers.Flatten()(x)], 64)


ARCHITECTURES: dict[str, Callable[[int], Any]] = {"strided": strided, "stacked": stacked}


def build(architecture: str, res: int, seed: int) -> Any:
    """Build a network by name, its weights drawn from ``seed``.

    Raises
    ------
    ConfigError
        Where there is no such architecture, or it cannot take such images.
    """
    if architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ConfigError("architecture", f"{architecture!r} is unknown", f"take one of {known}")
    if res not in (32, 64, 128, 256):
        raise ConfigError("res", f"{res} pixels", "take 32, 64, 128 or 256")
    keras, _ = import_keras()
    keras.utils.set_random_seed(seed)
    return ARCHITECTURES[architecture](res)


def _inputs(keras: Any, res: int) -> tuple[Any, Any]:
    image = keras.Input((res, res, 1), dtype="float32", name="image")
    return image, keras.Input((len(FEATURES),), dtype="float32", name="features")


def _standardise(keras: Any, image: Any) -> Any:
    """Zero mean and unit variance for each image; a constant image becomes zeros."""
    return keras.layers.LayerNormalization(
        axis=[1, 2, 3], epsilon=1e-4, center=False, scale=False, name="standardise"
    )(image)


def _scale(keras: Any, features: Any) -> Any:
    """Limit the features, take logarithms, and bring them to about unit range."""
    # not log1p, which ONNX does not know
    logs = keras.ops.log(keras.layers.ReLU(max_value=1e4)(features) + 1.0)
    scale = [1 / std for std in _FEATURE_STD]
    offset = [-mean / std for mean, std in zip(_FEATURE_MEAN, _FEATURE_STD, strict=True)]
    return keras.layers.Rescaling(scale, offset)(logs)


def _decide(keras: Any, image: Any, features: Any, seen: list[Any], units: int) -> Any:
    told = keras.layers.Dense(16, activation="relu")(_scale(keras, features))
    x = keras.layers.Concatenate()([*seen, told])
    x = keras.layers.Dropout(0.2)(x)
    x = keras.layers.Dense(units, activation="relu")(x)
    probability = keras.layers.Dense(1, activation="sigmoid", dtype="float32")(x)
    return keras.Model([image, features], probability)
