"""What models say of examples, and how good that is."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..classify import load_model, load_table, model_card
from ..data import BoolArray, Float32Array
from ..decide import least_in_parts
from ..errors import ConfigError
from .examples import CLASSES, LIVE_SNR, Examples, Facts, in_parts
from .measures import Rate, Reliability, Scores, average_precision, roc_auc

#: Gives probabilities of examples.
type Judge = Callable[[Examples], Float32Array]

#: Edges of the bins of S/N that recall is given in.
SNR_BINS = (5.2, 6.5, 7.0, 8.0, 10.0, 15.0, 30.0, 1000.0)

#: Edges of the bins that recall is given in, by what a pulse is sorted by.
RECALL_BINS: Mapping[str, tuple[float, ...]] = {
    "snr": SNR_BINS,
    "width_ms": (0.01, 0.1, 0.3, 1, 3, 10, 30, 300),
    "dm": (0.1, 10, 30, 100, 300, 1000, 3000, 30000),
    "band": (0.0, 0.3, 0.5, 0.7, 0.85, 0.95, 1.01),
    "sweep_widths": (0.0, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 10_000.0),
}

#: What candidates were measured in, by its share of the logarithm of frequency.
PARTS: Mapping[str, tuple[float, float]] = {
    "a quarter of the band": (0.0, 0.36),
    "a half": (0.36, 0.75),
    "all": (0.75, 1.01),
}

#: From here on it was all of the band.
WHOLE = 0.999

#: A pulse is dispersed for everybody to see if its sweep is so many of its widths.
DISPERSED_WIDTHS = 3.0

#: One in so many candidates of a real search is a pulse.
PREVALENCES = (10, 100, 1000)


#: What a card tells of `scores`: shares, and other numbers.
BRIEF_RATES = (
    *("accuracy", "precision", "recall", "false_positive_rate"),
    *("recall_snr_7_to_8", "recall_snr_8_up"),
    *("recall_snr_7_to_8_dispersed", "recall_snr_8_up_dispersed"),
)
BRIEF_NUMBERS = ("f1", "roc_auc", "average_precision", "calibration_error")


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Probabilities that a model gave to examples.

    Parameters
    ----------
    name
        Of the model.
    threshold
        Probability from which on it calls something a pulse.
    probabilities
        Shape (n,).
    recipe
        Of the model, where its card tells it.
    """

    name: str
    threshold: float
    probabilities: Float32Array
    recipe: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Judgements:
    """What models say of the same examples.

    Parameters
    ----------
    facts, snrs
        Of the examples, shapes (n,).
    models
        What each says.
    tallies
        Of the skies that they are of.
    """

    facts: Facts
    snrs: Float32Array
    models: tuple[Judged, ...]
    tallies: Facts

    @classmethod
    def of(cls, names: Sequence[str | Path], pieces: Iterable[Examples]) -> Self:
        """Let models judge examples, piece by piece.

        Raises
        ------
        ModelError
            Where a model cannot be loaded, or needs larger images.
        ConfigError
            Where two are called the same.
        """
        refuse_namesakes(names)
        cards = [model_card(name) for name in names]
        nothing = np.empty(0, np.float32)
        models = [
            Judged(card.name, card.threshold, nothing, card.facts.get("recipe", {}))
            for card in cards
        ]
        return cls.by(models, [judge_of(name) for name in names], pieces)

    @classmethod
    def by(
        cls, models: Sequence[Judged], judges: Sequence[Judge], pieces: Iterable[Examples]
    ) -> Self:
        """Have models that have said nothing yet judge examples, piece by piece."""
        said: list[list[Float32Array]] = [[] for _ in judges]
        facts, snrs, tallies = [], [], []
        for piece in pieces:
            facts.append(piece.facts)
            snrs.append(piece.snrs)
            tallies.append(piece.tallies)
            for parts, judge in zip(said, judges, strict=True):
                parts.append(judge(piece))
        heard = (
            replace(one, probabilities=np.concatenate(parts))
            for one, parts in zip(models, said, strict=True)
        )
        return cls(
            np.concatenate(facts), np.concatenate(snrs), tuple(heard), np.concatenate(tallies)
        )

    def said(self, one: Judged) -> BoolArray:
        """Tell what a model takes for pulses, as `decide` does by its probability, shape (n,)."""
        in_part = self.facts["part"] < WHOLE
        least = np.where(in_part, least_in_parts(one.threshold), one.threshold)
        return np.asarray(one.probabilities >= least)

    @property
    def live(self) -> BoolArray:
        """Which examples a live search would have, shape (n,)."""
        return np.asarray(self.snrs >= LIVE_SNR)

    def column(self, name: str) -> NDArray[Any]:
        """Give what pulses are sorted by."""
        if name == "snr":
            return self.snrs
        if name == "sweep_widths":
            return np.asarray(self.facts["sweep"] / np.maximum(self.facts["width_samples"], 1))
        return self.facts[name]

    def dispersed(self) -> Self:
        """Leave out pulses that hardly are: others stay."""
        kept = ~self.facts["label"] | (self.column("sweep_widths") >= DISPERSED_WIDTHS)
        models = (replace(one, probabilities=one.probabilities[kept]) for one in self.models)
        return type(self)(self.facts[kept], self.snrs[kept], tuple(models), self.tallies)


def refuse_namesakes(models: Sequence[str | Path]) -> None:
    """Refuse models that a table could not tell apart.

    Raises
    ------
    ConfigError
        Where two are called the same.
    """
    names = [model_card(model).name for model in models]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        cause = f"two of the models are called {twice!r}"
        raise ConfigError("models", cause, "name each once, or copy one to another folder")


def judge_of(name: str | Path) -> Judge:
    """Load a model as a function of examples, whose images may be larger than it needs."""
    card = model_card(name)
    if not card.res:
        table = load_table(name)
        return lambda examples: table(examples.table)
    classifier = load_model(name, batch=256, device="cpu", engine="onnx")

    def judge(examples: Examples) -> Float32Array:
        margin = (examples.images.shape[1] - card.res) // 2
        middle = slice(margin, margin + card.res)
        parts = [np.empty(0, np.float32)]
        for some in in_parts(examples):
            images = some.images[:, middle, middle].astype(np.float32)
            parts.append(classifier(images, some.features))
        return np.concatenate(parts)

    return judge


def scores(judgements: Judgements, one: Judged) -> dict[str, Any]:
    """Give all measures of a model, as plain values."""
    live, labels = judgements.live, judgements.facts["label"]
    p, truth = one.probabilities[live], labels[live]
    confusion = Scores.of(judgements.said(one)[live], truth)
    rates = {
        "accuracy": confusion.accuracy,
        "precision": confusion.precision,
        "recall": confusion.recall,
        "false_positive_rate": confusion.false_positive_rate,
        "recall_snr_7_to_8": recall_between(judgements, one, "snr", 7, 8),
        "recall_snr_8_up": recall_between(judgements, one, "snr", 8, np.inf),
    }
    clear = judgements.dispersed()
    same = clear.models[judgements.models.index(one)]
    rates |= {
        "recall_snr_7_to_8_dispersed": recall_between(clear, same, "snr", 7, 8),
        "recall_snr_8_up_dispersed": recall_between(clear, same, "snr", 8, np.inf),
    }
    return {
        "threshold": one.threshold,
        **{name: _told(rate) for name, rate in rates.items()},
        "f1": confusion.f1,
        "roc_auc": roc_auc(p, truth),
        "average_precision": average_precision(p, truth),
        "calibration_error": Reliability.of(p, truth).error,
        "confusion": {
            "pulses kept": confusion.true_pulses,
            "pulses lost": confusion.missed,
            "others kept": confusion.false,
            "others left out": confusion.true_others,
        },
        "recall_by": {
            name: {
                f"{low:g} to {high:g}": _told(recall_between(judgements, one, name, low, high))
                for low, high in pairwise(edges)
            }
            for name, edges in RECALL_BINS.items()
        },
        "false_positives_by_kind": {
            name: _told(_false(judgements, one, number))
            for number, name in enumerate(CLASSES)
            if name != "pulse"
        },
        "by_part": {
            name: {key: _told(rate) for key, rate in _in_part(judgements, one, *shares).items()}
            for name, shares in PARTS.items()
        },
        "false_positives_per_hour": per_hour(judgements, one),
        "precision_where_one_in": {
            str(many): _precision(confusion, 1 / many) for many in PREVALENCES
        },
    }


def recall_between(judgements: Judgements, one: Judged, by: str, low: float, high: float) -> Rate:
    """Give the share of the pulses in a bin that are kept; the live ones, unless S/N sorts."""
    column = judgements.column(by)
    here = judgements.facts["label"] & (column >= low) & (column < high)
    if by != "snr":
        here &= judgements.live
    return Rate.count(judgements.said(one)[here])


def _false(judgements: Judgements, one: Judged, kind: int) -> Rate:
    facts = judgements.facts
    here = judgements.live & ~facts["label"] & (facts["kind"] == kind)
    return Rate.count(judgements.said(one)[here])


def _in_part(judgements: Judgements, one: Judged, low: float, high: float) -> dict[str, Rate]:
    """Give recall and false positives of what was measured in such a part of the band."""
    facts, snrs = judgements.facts, judgements.snrs
    here = judgements.live & (facts["part"] >= low) & (facts["part"] < high)
    pulses, said = here & facts["label"], judgements.said(one)
    return {
        "recall_snr_7_to_8": Rate.count(said[pulses & (snrs >= 7) & (snrs < 8)]),
        "recall_snr_8_up": Rate.count(said[pulses & (snrs >= 8)]),
        "false_positive_rate": Rate.count(said[here & ~facts["label"]]),
    }


def per_hour(judgements: Judgements, one: Judged) -> float | None:
    """Give the false positives in an hour of such skies; None where their length is not known.

    Of a sky with many others only some are among the examples: each stands for several.
    """
    facts, tallies = judgements.facts, judgements.tallies
    others, said = judgements.live & ~facts["label"], judgements.said(one)
    kept = dict(zip(*np.unique(facts["sky"][others], return_counts=True), strict=True))
    wrong = dict(zip(*np.unique(facts["sky"][others & said], return_counts=True), strict=True))
    all_others = dict(zip(tallies["sky"].tolist(), tallies["others"].tolist(), strict=True))
    false = sum(count * all_others[sky] / kept[sky] for sky, count in wrong.items())
    return float(false / tallies["hours"].sum()) if len(tallies) else None


def _precision(confusion: Scores, prevalence: float) -> float:
    """Give the share of pulses in what passes, where so many of the candidates are pulses."""
    kept = confusion.recall.value * prevalence
    return kept / max(kept + confusion.false_positive_rate.value * (1 - prevalence), 1e-12)


def _told(rate: Rate) -> dict[str, Any]:
    low, high = rate.interval
    value = rate.value if rate.of else None
    return {"value": value, "hits": rate.hits, "of": rate.of, "low": low, "high": high}


def brief(told: Mapping[str, Any]) -> dict[str, Any]:
    """Give of `scores` what stands on a card: shares, and numbers where those matter."""
    confusion = told["confusion"]
    pulses = confusion["pulses kept"] + confusion["pulses lost"]
    others = confusion["others kept"] + confusion["others left out"]
    kinds = told["false_positives_by_kind"].items()
    return {
        "examples": pulses + others,
        "pulses": pulses,
        **{name: _rounded(told[name]["value"]) for name in BRIEF_RATES},
        **{name: round(told[name], 5) for name in BRIEF_NUMBERS},
        "recall_by_snr": {
            name: _rounded(rate["value"]) for name, rate in told["recall_by"]["snr"].items()
        },
        "false_positives_by_kind": {
            name: f"{rate['hits']} of {rate['of']}" for name, rate in kinds
        },
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
