"""dT: how long a network takes for an image, by batch, threads and engine.

The ML-PPA networks were timed as ``predict(element)``, one image a call, and as
``predict(dataset)``; both are here too, beside what this program does.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal

from ..classify import ModelCard, model_card
from ..classify.card import WEIGHTS
from ..classify.cost import random_inputs
from ..classify.engines import (
    feeds_of,
    forget_networks,
    load_keras,
    with_onnx,
    with_tensorflow,
)
from ..data import Float32Array
from ..errors import ModelError
from ..plots import by_resolution, plot_dt
from ..training.architecture import RESOLUTIONS, build
from ..training.card import save_model
from .search import Tell

#: Ways of computing: ours, and those that the ML-PPA networks were timed in.
type Way = Literal["onnx", "tensorflow", "predict(element)", "predict(dataset)"]

#: A measurement lasts so long, and has so many calls at least.
SECONDS = 0.6
FEWEST = 5

#: Images that predict(dataset) is given.
DATASET = 256


#: Candidates a second of sky that a storm of interference may give: what real time allows
#: is a second for so many.
STORM_PER_S = 1000


@dataclass(frozen=True, slots=True)
class Load:
    """What to time: every combination.

    Parameters
    ----------
    models
        Names or folders.
    batches, threads
        Images a call, and processors.
    ways
        See `Way`; threads are those of ONNX Runtime.
    """

    models: Sequence[str | Path]
    batches: Sequence[int] = (1, 32)
    threads: Sequence[int] = (1,)
    ways: Sequence[Way] = ("onnx",)


@dataclass(frozen=True, slots=True)
class DtTiming:
    """How long a network takes.

    Parameters
    ----------
    model, res, way, batch, threads
        What was timed.
    per_image_s
        Of every call, in its order; shared out among its images.
    """

    model: str
    res: int
    way: Way
    batch: int
    threads: int
    per_image_s: tuple[float, ...]

    @property
    def dt_s(self) -> float:
        """Median for an image."""
        return median(self.per_image_s)


def time_dt(load: Load, tell: Tell) -> Iterator[DtTiming]:
    """Time networks on a CPU, on random images; those for ONNX Runtime alone by that alone.

    Raises
    ------
    ModelError
        Where a model cannot be loaded, or none can be timed in any of the ways.
    """
    cards = [model_card(name) for name in load.models]
    jobs = [
        (card, *job)
        for card in cards
        for job in _jobs(load)
        if job[0] == "onnx" or (card.folder / WEIGHTS).exists()
    ]
    if not jobs:
        names = ", ".join(card.name for card in cards)
        cause = f"it has no {WEIGHTS}, and so none of these ways to be computed"
        raise ModelError(names, cause, "time it by onnx, or train it again")
    for number, (card, way, batch, threads) in enumerate(jobs):
        tell(f"{card.name}, {way}, {batch}", number, len(jobs))
        call = _call(card, way, batch, threads)
        images, features = random_inputs(card, DATASET if way == "predict(dataset)" else batch)
        spent = _spent(partial(call, images, features))
        each = tuple(seconds / len(images) for seconds in spent)
        del call
        if way != "onnx":
            forget_networks()
        yield DtTiming(card.name, card.res, way, batch, threads, each)


def _jobs(load: Load) -> Iterator[tuple[Way, int, int]]:
    for way in load.ways:
        if way == "onnx":
            yield from ((way, batch, n) for batch in load.batches for n in load.threads)
        elif way == "tensorflow":
            yield from ((way, batch, 0) for batch in load.batches)
        else:
            yield way, 1 if way == "predict(element)" else 32, 0


def _call(
    card: ModelCard, way: Way, batch: int, threads: int
) -> Callable[[Float32Array, Float32Array], Any]:
    if way == "onnx":
        return with_onnx(card, threads)
    if way == "tensorflow":
        return with_tensorflow(card, batch, "cpu")
    model, feeds = load_keras(card), feeds_of(card)
    return lambda images, features: model.predict(
        feeds(images, features), batch_size=batch, verbose=0
    )


def _spent(call: Callable[[], Any]) -> list[float]:
    """Seconds of each call, after one that counts for nothing."""
    call()
    spent: list[float] = []
    while len(spent) < FEWEST or sum(spent) < SECONDS:
        start = time.perf_counter()
        call()
        spent.append(time.perf_counter() - start)
    return spent


def draw_dt(timings: Sequence[DtTiming], path: Path) -> None:
    """Draw histograms of dT: of each network what is quickest, and what the talk had.

    More of them could not be told apart.

    Raises
    ------
    SinkError
        Where it cannot be written.
    """
    most = max((one.batch for one in timings if one.way == "onnx"), default=0)
    shown = [
        one
        for one in timings
        if one.way == "predict(element)" or (one.way == "onnx" and one.batch == most)
    ]
    drawn = shown or timings
    threaded = len({one.threads for one in drawn if one.way == "onnx"}) > 1
    told = [
        (one.res, _label(one, not shown, threaded), [1e6 * s for s in one.per_image_s])
        for one in drawn
    ]
    plot_dt(by_resolution(told), 1e6 / STORM_PER_S, path)


def _label(one: DtTiming, batched: bool, threaded: bool) -> str:
    """Name a histogram by all in which it differs from others."""
    words = [one.model, one.way]
    words += [f"{one.batch} a call"] if batched else []
    words += [f"{one.threads} threads"] if threaded and one.threads else []
    return ", ".join(words)


def leads(timings: Sequence[DtTiming]) -> Iterator[tuple[DtTiming, float]]:
    """Give each network's quickest way, and how often it is as fast as predict(element)."""
    for model in dict.fromkeys(one.model for one in timings):
        mine = [one for one in timings if one.model == model]
        slow = [one for one in mine if one.way == "predict(element)"]
        if slow:
            quick = min(mine, key=lambda one: one.dt_s)
            yield quick, slow[0].dt_s / quick.dt_s


def untrained_family(folder: Path, tell: Tell) -> list[Path]:
    """Write every network of the ML-PPA family with random weights: dT is the same.

    Returns
    -------
    models
        Their folders: 256_1 to 32_3.

    Raises
    ------
    SinkError
        Where they cannot be written.
    """
    family = [(res, layers) for res in RESOLUTIONS for layers in (1, 2, 3)]
    made = []
    for number, (res, layers) in enumerate(family):
        tell("building networks", number, len(family))
        made.append(folder / f"{res}_{layers}")
        save_model(build(f"mlppa_{layers}", res, seed=0), made[-1], {"summary": "untrained"})
        forget_networks()  # the largest has 65 million weights
    return made
