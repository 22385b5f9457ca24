"""Learning from images without labels: which way round each of them is.

A network that can tell whether an image was turned over in time, in DM or in both has
learnt what bow-ties, streaks and noise look like. Only its last layer begins anew after
that. After Gidaris, Singh & Komodakis 2018 (ICLR), who turned photographs.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..classify.engines import import_keras
from .examples import Examples
from .recipe import Recipe
from .supply import Supply

#: An image as it is, turned over in time, in DM, and in both.
TURNS = 4


def pretrain(model: Any, recipe: Recipe, supply: Supply) -> float:
    """Train all but the last layer of a network to tell which way round images are.

    Parameters
    ----------
    model
        Is changed; it must see images.
    recipe
        How long, and in what steps.
    supply
        The images; their labels are not looked at.

    Returns
    -------
    accuracy
        Share of the images that it told rightly at the end; a quarter is chance.
    """
    keras, _ = import_keras()
    last = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)][-1]
    turns = keras.Model(model.inputs, keras.layers.Dense(TURNS)(last.input))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    rate = keras.optimizers.Adam(recipe.learning_rate)
    turns.compile(rate, loss=loss, metrics=["accuracy"])
    told = turns.fit(
        _turned(model, recipe, supply),
        steps_per_epoch=max(supply.count // recipe.batch, 1),
        epochs=recipe.pretrain_epochs,
        shuffle=False,
        verbose=0,
    )
    return float(told.history["accuracy"][-1])


def _turned(
    model: Any, recipe: Recipe, supply: Supply
) -> Iterator[tuple[tuple[NDArray[Any], ...], NDArray[np.int64]]]:
    """Give images turned over at random, and which way, without end."""
    rng = np.random.default_rng((recipe.seed, 7))
    while True:
        for piece in supply.pieces(rng):
            count = len(piece.facts)
            for first in range(0, max(count - recipe.batch + 1, 1), recipe.batch):
                some = piece.take(np.arange(first, min(first + recipe.batch, count)))
                turns = rng.integers(TURNS, size=len(some.facts))
                yield _given(model, some, turned(some, turns)), turns


def turned(examples: Examples, turns: NDArray[np.int64]) -> NDArray[np.float32]:
    """Turn images over: in time for 1 and 3, in DM for 2 and 3."""
    images = examples.images.astype(np.float32)
    images[turns % 2 == 1] = images[turns % 2 == 1][:, :, ::-1]
    images[turns >= 2] = images[turns >= 2][:, ::-1]
    return images


def _given(model: Any, examples: Examples, images: NDArray[np.float32]) -> tuple[Any, ...]:
    # the numbers beside an image would give it away, or say nothing
    nothing = np.zeros_like(examples.features)
    names = [tensor.name for tensor in model.inputs]
    return (images[..., None], nothing) if "features" in names else (images[..., None],)
