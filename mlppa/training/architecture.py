"""The networks: plain Keras layers only, so that any Keras 3 can load them, on any backend.

A network takes an image (RES, RES, 1) in units of noise, the features of `images.FEATURES`,
or both; those for lists of candidates take `table.COLUMNS`. All is raw: normalisation is its
first layer. The last layer turns one number, or one for each class, into a probability.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ..classify.engines import import_keras
from ..classify.table import COLUMNS
from ..errors import ConfigError
from ..images import FEATURES, PARTS, STEPS

#: Sides of an image in pixels.
RESOLUTIONS = (32, 64, 128, 256)

#: Mean and standard deviation of log(1 + feature), for those that are no part of the band:
#: what brings them to about -1 to 1.
_FEATURE_MEAN = (2.0, 2.5, 0.3, 0.9)
_FEATURE_STD = (0.5, 0.8, 0.2, 0.4)

#: The same for the columns of a list of candidates.
_COLUMN_MEAN = (5.0, 2.0, 2.5, 7.0, 7.3, 2.0, 1.5)
_COLUMN_STD = (2.0, 1.5, 0.8, 0.8, 0.8, 1.5, 1.5)

#: Noise added to the standardised image while training, and only then: it keeps the network
#: from learning the noise of its examples (0, 0.3, 0.6 and 1 were tried).
_TRAINING_NOISE = 1.0


def mlppa(res: int, layers: int) -> Any:
    """Build a network of the ML-PPA family, named by resolution and layers, such as 256_3.

    Convolutions of 5 x 5 without padding, with 4, 8 and 12 filters, max-pooling between them,
    a dense layer of 256, one of 2. It sees the image and nothing else. 256_3 has 9 985 022
    parameters.

    Returns
    -------
    model
        A Keras model with input (n, res, res, 1) and output (n, 2).
    """
    keras, _ = import_keras()
    image, _ = _inputs(keras, res)
    x = _standardise(keras, image)
    for layer in range(layers):
        x = keras.layers.MaxPooling2D(2)(x) if layer else x
        x = keras.layers.Conv2D(4 * (layer + 1), 5, activation="relu")(x)
    x = keras.layers.Dense(256, activation="relu")(keras.layers.Flatten()(x))
    return keras.Model([image], keras.layers.Softmax()(keras.layers.Dense(2)(x)))


def strided(
    res: int,
    filters: tuple[int, ...] = (12, 24, 32, 40),
    units: int = 32,
    spectrum: tuple[int, int, int] = (8, 16, 24),
) -> Any:
    """Build the small network: strided convolutions, then centre, mean and peak of the map.

    The candidate stands in the middle of its image, so the centre is told apart; mean
    and peak show what else there is.

    Parameters
    ----------
    res
        Pixels along either side of an image.
    filters
        Of the convolutions.
    units
        Of the dense layer that sees everything.
    spectrum
        Filters of the two convolutions over the spectrum, and units behind them.

    Returns
    -------
    model
        A Keras model with inputs (n, res, res, 1) and (n, number of features), and output
        (n, 1).
    """
    keras, _ = import_keras()
    image, features = _inputs(keras, res)
    x = keras.layers.GaussianNoise(_TRAINING_NOISE)(_standardise(keras, image))
    for number in filters:
        x = keras.layers.Conv2D(number, 3, strides=2, padding="same", activation="relu")(x)
    middle = keras.layers.Cropping2D((x.shape[1] - 2) // 2)(x)
    seen = [
        keras.layers.GlobalAveragePooling2D()(middle),
        keras.layers.GlobalAveragePooling2D()(x),
        keras.layers.GlobalMaxPooling2D()(x),
    ]
    x = keras.layers.Concatenate()([*seen, *_told(keras, features, spectrum)])
    x = keras.layers.Dropout(0.3)(x)
    x = keras.layers.Dense(units, activation="relu")(x)
    return keras.Model([image, features], _probability(keras, x))


def galaxy(res: int) -> Any:
    """Build a network with batch normalisation and dropout, as those of Galaxy Zoo have them.

    Four times convolution, normalisation, ReLU and pooling, then dense layers; see
    Dieleman, Willett & Dambre 2015, MNRAS 450, 1441, for the kind.
    """
    keras, _ = import_keras()
    image, _ = _inputs(keras, res)
    x = _standardise(keras, image)
    for filters in (16, 32, 48, 64):
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
        x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Dropout(0.5)(keras.layers.Flatten()(x))
    x = keras.layers.Dropout(0.5)(keras.layers.Dense(64, activation="relu")(x))
    return keras.Model([image], _probability(keras, x))


def efficientnet(res: int, name: str) -> Any:
    """Build a heavy network for reference: EfficientNet, its weights drawn anew.

    Tan & Le 2019, ICML 97, 6105.
    """
    keras, _ = import_keras()
    image, _ = _inputs(keras, res)
    make = getattr(keras.applications, name)
    body = make(include_top=False, weights=None, input_shape=(res, res, 1), pooling="avg")
    # it expects numbers up to 255
    x = body(keras.layers.Rescaling(64.0)(_standardise(keras, image)))
    return keras.Model([image], _probability(keras, keras.layers.Dropout(0.3)(x)))


def tabular(units: tuple[int, ...]) -> Any:
    """Build a network for lists of candidates without data, such as 7-64-32-1."""
    keras, _ = import_keras()
    row = keras.Input((len(COLUMNS),), dtype="float32", name="features")
    x = _logs(keras, row, _COLUMN_MEAN, _COLUMN_STD)
    for number in units:
        x = keras.layers.Dense(number, activation="relu")(x)
    return keras.Model([row], _probability(keras, x))


#: Networks that see images, by name; each takes a resolution.
OF_IMAGES: Mapping[str, Callable[[int], Any]] = {
    **{f"mlppa_{layers}": partial(mlppa, layers=layers) for layers in (1, 2, 3)},
    "strided": strided,
    "strided_wide": partial(strided, filters=(8, 32, 48, 64), units=96, spectrum=(16, 32, 48)),
    "galaxy": galaxy,
    "efficientnet_b0": partial(efficientnet, name="EfficientNetB0"),
    "efficientnet_b3": partial(efficientnet, name="EfficientNetB3"),
}

#: Networks for lists of candidates, by name.
OF_LISTS: Mapping[str, Callable[[], Any]] = {
    "tabular_64_32": partial(tabular, (64, 32)),
    "tabular_42": partial(tabular, (42,)),
}

ARCHITECTURES = (*OF_IMAGES, *OF_LISTS)


def build(architecture: str, res: int, seed: int, initialiser: str | None = None) -> Any:
    """Build a network by name, its weights drawn from ``seed``.

    Parameters
    ----------
    res
        Pixels along either side of its images; lists of candidates have none.
    initialiser
        How the first weights of convolutions and dense layers are drawn, in Keras' words;
        None as each layer has it.

    Raises
    ------
    ConfigError
        Where there is no such architecture, or it cannot take such images.
    """
    if architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ConfigError("architecture", f"{architecture!r} is unknown", f"take one of {known}")
    if res not in RESOLUTIONS:
        raise ConfigError("res", f"{res} pixels", "take 32, 64, 128 or 256")
    keras, _ = import_keras()
    keras.utils.set_random_seed(seed)
    lists = architecture in OF_LISTS
    model = OF_LISTS[architecture]() if lists else OF_IMAGES[architecture](res)
    if initialiser is not None:
        _draw_again(keras, model, initialiser, seed)
    return model


def _draw_again(keras: Any, model: Any, initialiser: str, seed: int) -> None:
    for number, layer in enumerate(layer for layer in model.layers if hasattr(layer, "kernel")):
        draw = keras.initializers.get(
            {"class_name": initialiser, "config": {"seed": seed + number}}
        )
        layer.kernel.assign(draw(layer.kernel.shape))


def _inputs(keras: Any, res: int) -> tuple[Any, Any]:
    image = keras.Input((res, res, 1), dtype="float32", name="image")
    return image, keras.Input((len(FEATURES),), dtype="float32", name="features")


def _standardise(keras: Any, image: Any) -> Any:
    """Zero mean and unit variance for each image; a constant image becomes zeros."""
    return keras.layers.LayerNormalization(
        axis=[1, 2, 3], epsilon=1e-4, center=False, scale=False, name="standardise"
    )(image)


def _told(keras: Any, features: Any, spectrum: tuple[int, int, int]) -> list[Any]:
    """Look at the numbers that go with an image: those of the candidate, and the spectrum."""
    cells, (*filters, units) = PARTS * STEPS, spectrum
    numbers = _logs(keras, features[:, :-cells], _FEATURE_MEAN, _FEATURE_STD)
    x = keras.layers.GaussianNoise(_TRAINING_NOISE / 2)(features[:, -cells:])
    x = keras.ops.softsign(x / 3.0) * 2.0
    x = keras.layers.Reshape((PARTS, STEPS, 1))(x)
    for number in filters:
        x = keras.layers.Conv2D(number, 3, strides=2, padding="same", activation="relu")(x)
    seen = keras.layers.Dense(units, activation="relu")(keras.layers.Flatten()(x))
    return [keras.layers.Dense(16, activation="relu")(numbers), seen]


def _logs(keras: Any, numbers: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> Any:
    """Limit numbers, take logarithms, and bring them to about unit range."""
    # not log1p, which ONNX does not know
    logs = keras.ops.log(keras.layers.ReLU(max_value=1e4)(numbers) + 1.0)
    scale = [1 / one for one in std]
    offset = [-middle / one for middle, one in zip(mean, std, strict=True)]
    return keras.layers.Rescaling(scale, offset)(logs)


def _probability(keras: Any, x: Any) -> Any:
    return keras.layers.Activation("sigmoid")(keras.layers.Dense(1)(x))
