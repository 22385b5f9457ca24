"""Judge models on images that none was trained on: tables and pictures, as a report."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..classify import ModelCard, load_model, load_table, model_card
from ..data import BoolArray, Float32Array
from ..disk import make_folder, write_whole
from ..plots import plot_recall, plot_reliability, plot_roc
from .examples import CLASSES, Examples, Facts
from .measures import Rate, Reliability, Scores, average_precision, precision_recall, roc, roc_auc
from .train import LIVE_SNR, SNR_BINS, Judge

#: Edges of the bins that recall is given in, by what a pulse is sorted by.
RECALL_BINS: Mapping[str, tuple[float, ...]] = {
    "snr": SNR_BINS,
    "width_ms": (0.01, 0.1, 0.3, 1, 3, 10, 30, 300),
    "dm": (0.1, 10, 30, 100, 300, 1000, 3000, 30000),
    "band": (0.0, 0.3, 0.5, 0.7, 0.85, 0.95, 1.01),
    "sweep_widths": (0.0, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 10_000.0),
}

#: A pulse is dispersed for everybody to see if its sweep is so many of its widths.
DISPERSED_WIDTHS = 3.0

#: One in so many candidates of a real search is a pulse.
PREVALENCES = (10, 100, 1000)


@dataclass(frozen=True, slots=True)
class Judged:
    """Probabilities that a model gave to examples.

    Parameters
    ----------
    card
        The model.
    probabilities
        Shape (n,).
    """

    card: ModelCard
    probabilities: Float32Array

    @property
    def said(self) -> BoolArray:
        """What it takes for pulses, shape (n,)."""
        return np.asarray(self.probabilities >= self.card.threshold)


@dataclass(frozen=True, slots=True)
class Judgements:
    """What models say of the same examples.

    Parameters
    ----------
    facts, snrs
        Of the examples, shapes (n,).
    models
        What each says.
    """

    facts: Facts
    snrs: Float32Array
    models: tuple[Judged, ...]

    @classmethod
    def of(cls, names: Sequence[str | Path], pieces: Iterable[Examples]) -> Self:
        """Let models judge examples, piece by piece.

        Raises
        ------
        ModelError
            Where a model cannot be loaded, or needs larger images.
        """
        judges = [(model_card(name), judge_of(name)) for name in names]
        said: list[list[Float32Array]] = [[] for _ in judges]
        facts, snrs = [], []
        for piece in pieces:
            facts.append(piece.facts)
            snrs.append(piece.snrs)
            for parts, (_, judge) in zip(said, judges, strict=True):
                parts.append(judge(piece))
        models = (
            Judged(card, np.concatenate(parts))
            for (card, _), parts in zip(judges, said, strict=True)
        )
        return cls(np.concatenate(facts), np.concatenate(snrs), tuple(models))

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
        models = (Judged(one.card, one.probabilities[kept]) for one in self.models)
        return type(self)(self.facts[kept], self.snrs[kept], tuple(models))


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
        for first in range(0, len(examples.facts), 1024):
            some = slice(first, first + 1024)
            images = examples.images[some, middle, middle].astype(np.float32)
            parts.append(classifier(images, examples.features[some]))
        return np.concatenate(parts)

    return judge


def report(judgements: Judgements, folder: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """Write tables and pictures into a folder: ``report.md``, ``report.json`` and PNGs.

    Parameters
    ----------
    about
        What else is told of the examples.

    Returns
    -------
    content
        What stands in ``report.json``.

    Raises
    ------
    SinkError
        Where the folder cannot be written.
    """
    make_folder(folder)
    content = {
        "about": dict(about) | _about(judgements),
        "models": {one.card.name: scores(judgements, one) for one in judgements.models},
        "seeds": spreads(judgements),
    }
    _draw(judgements, folder)
    write_whole(folder / "report.json", json.dumps(content, indent=1).encode() + b"\n")
    write_whole(folder / "report.md", "\n".join(_lines(judgements, content)).encode() + b"\n")
    return content


def _about(judgements: Judgements) -> dict[str, Any]:
    labels, live = judgements.facts["label"], judgements.live
    return {
        "images": len(labels),
        "skies": len(np.unique(judgements.facts["sky"])),
        "live_snr": LIVE_SNR,
        "live_pulses": int((labels & live).sum()),
        "live_others": int((~labels & live).sum()),
    }


def scores(judgements: Judgements, one: Judged) -> dict[str, Any]:
    """Give all measures of a model, as plain values."""
    live, labels = judgements.live, judgements.facts["label"]
    p, truth = one.probabilities[live], labels[live]
    confusion = Scores.of(one.said[live], truth)
    rates = {
        "accuracy": confusion.accuracy,
        "precision": confusion.precision,
        "recall": confusion.recall,
        "false_positive_rate": confusion.false_positive_rate,
        "recall_snr_7_to_8": _recall(judgements, one, "snr", 7, 8),
        "recall_snr_8_up": _recall(judgements, one, "snr", 8, np.inf),
    }
    clear = judgements.dispersed()
    same = next(other for other in clear.models if other.card is one.card)
    rates |= {
        "recall_snr_7_to_8_dispersed": _recall(clear, same, "snr", 7, 8),
        "recall_snr_8_up_dispersed": _recall(clear, same, "snr", 8, np.inf),
    }
    return {
        "threshold": one.card.threshold,
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
                f"{low:g} to {high:g}": _told(_recall(judgements, one, name, low, high))
                for low, high in pairwise(edges)
            }
            for name, edges in RECALL_BINS.items()
        },
        "false_positives_by_kind": {
            name: _told(_false(judgements, one, number))
            for number, name in enumerate(CLASSES)
            if name != "pulse"
        },
        "precision_where_one_in": {
            str(many): _precision(confusion, 1 / many) for many in PREVALENCES
        },
    }


def _recall(judgements: Judgements, one: Judged, by: str, low: float, high: float) -> Rate:
    """Give the share of the pulses in a bin that are kept; the live ones, unless S/N sorts."""
    column = judgements.column(by)
    here = judgements.facts["label"] & (column >= low) & (column < high)
    if by != "snr":
        here &= judgements.live
    return Rate.count(one.said[here])


def _false(judgements: Judgements, one: Judged, kind: int) -> Rate:
    facts = judgements.facts
    return Rate.count(one.said[judgements.live & ~facts["label"] & (facts["kind"] == kind)])


def _precision(confusion: Scores, prevalence: float) -> float:
    """Give the share of pulses in what passes, where so many of the candidates are pulses."""
    kept = confusion.recall.value * prevalence
    return kept / max(kept + confusion.false_positive_rate.value * (1 - prevalence), 1e-12)


def _told(rate: Rate) -> dict[str, Any]:
    low, high = rate.interval
    value = rate.value if rate.of else None
    return {"value": value, "hits": rate.hits, "of": rate.of, "low": low, "high": high}


def spreads(judgements: Judgements) -> list[dict[str, Any]]:
    """Compare models that differ in their seed only: mean and deviation of what counts."""
    found = []
    for alike in _alike(judgements.models):
        if len(alike) > 1:
            each = [scores(judgements, one) for one in alike]
            values = {
                name: [s[name]["value"] if isinstance(s[name], dict) else s[name] for s in each]
                for name in (*_COUNTS, "roc_auc", "calibration_error")
            }
            found.append(
                {"models": [one.card.name for one in alike]}
                | {
                    name: {"mean": float(np.mean(of)), "std": float(np.std(of, ddof=1))}
                    for name, of in values.items()
                    if None not in of
                }
            )
    return found


def _alike(models: Sequence[Judged]) -> Iterator[list[Judged]]:
    def key(one: Judged) -> str:
        recipe = dict(one.card.facts.get("recipe", {}))
        recipe.pop("seed", None)
        return json.dumps(recipe, sort_keys=True)

    for _, group in groupby(sorted(models, key=key), key):
        yield list(group)


def _draw(judgements: Judgements, folder: Path) -> None:
    live, labels = judgements.live, judgements.facts["label"]
    truth = labels[live]
    models = {one.card.name: one for one in judgements.models}
    p = {name: one.probabilities[live] for name, one in models.items()}
    plot_roc(
        {name: roc(one, truth) for name, one in p.items()},
        {name: precision_recall(one, truth) for name, one in p.items()},
        folder / "roc.png",
    )
    reliabilities = {name: Reliability.of(one, truth) for name, one in p.items()}
    plot_reliability(
        {name: (one.said, one.true, one.count) for name, one in reliabilities.items()},
        folder / "reliability.png",
    )
    recalls = {
        by: {
            name: [
                (low, high, _recall(judgements, one, by, low, high))
                for low, high in pairwise(edges)
            ]
            for name, one in models.items()
        }
        for by, edges in RECALL_BINS.items()
    }
    plot_recall(recalls, folder / "recall.png")


#: The columns of the report's first table.
_COUNTS = (
    *("recall_snr_8_up_dispersed", "recall_snr_7_to_8_dispersed"),
    *("recall_snr_8_up", "recall_snr_7_to_8", "false_positive_rate"),
    *("accuracy", "precision", "recall"),
)
_TOLD = 5


def _lines(judgements: Judgements, content: Mapping[str, Any]) -> Iterator[str]:
    about = content["about"]
    yield "# How good the models are\n"
    yield (
        f"{about['images']} images of {about['skies']} simulated skies, of telescopes and "
        f"interference that no model was trained on; {about['live_pulses']} pulses and "
        f"{about['live_others']} others of S/N {LIVE_SNR:g} and more count, but for recall by "
        "S/N. In brackets the 95 % interval of Wilson. Each model is cut at the threshold of its "
        f"card, which other skies set. Dispersed are pulses with a sweep of {DISPERSED_WIDTHS:g} "
        "widths and more: others are hard to tell from a burst at DM 0 for anybody.\n"
    )
    heads = (
        *("recall, S/N >= 8, dispersed", "recall, S/N 7 to 8, dispersed"),
        *("recall, S/N >= 8, all", "recall, S/N 7 to 8, all", "false positives"),
    )
    yield "| model | threshold | " + " | ".join(heads) + " | F1 | ROC AUC | calibration error |"
    yield "|---" * (len(heads) + 5) + "|"
    for name, one in content["models"].items():
        rates = " | ".join(_percent(one[key]) for key in _COUNTS[:_TOLD])
        yield (
            f"| {name} | {one['threshold']:.3f} | {rates} | {one['f1']:.4f} | "
            f"{one['roc_auc']:.4f} | {one['calibration_error']:.4f} |"
        )
    yield "\n![ROC and precision](roc.png)\n\n![Recall](recall.png)\n"
    yield "![Reliability](reliability.png)\n"
    for spread in content["seeds"]:
        yield f"Seeds: {', '.join(spread['models'])} differ in their seed only:\n"
        for name in (name for name in _COUNTS[:_TOLD] if name in spread):
            mean, std = 100 * spread[name]["mean"], 100 * spread[name]["std"]
            yield f"- {name}: {mean:.2f} +- {std:.2f} %"
        yield ""
    for one in judgements.models:
        yield from _page(one.card.name, content["models"][one.card.name])


def _page(name: str, one: Mapping[str, Any]) -> Iterator[str]:
    yield f"\n## {name}\n"
    counts = one["confusion"]
    yield "| | taken for a pulse | left out |\n|---|---|---|"
    yield f"| pulses | {counts['pulses kept']} | {counts['pulses lost']} |"
    yield f"| others | {counts['others kept']} | {counts['others left out']} |\n"
    for by, bins in one["recall_by"].items():
        yield f"| {by} | " + " | ".join(bins) + " |"
        yield "|---" * (len(bins) + 1) + "|"
        yield "| recall | " + " | ".join(_percent(rate) for rate in bins.values()) + " |\n"
    kinds = one["false_positives_by_kind"]
    yield "| others | " + " | ".join(kinds) + " |"
    yield "|---" * (len(kinds) + 1) + "|"
    yield "| kept | " + " | ".join(f"{r['hits']} of {r['of']}" for r in kinds.values()) + " |\n"
    shares = one["precision_where_one_in"]
    told = ", ".join(f"{100 * value:.1f} % of 1 in {many}" for many, value in shares.items())
    yield f"Pulses among what passes, where one in so many candidates is a pulse: {told}."


def _percent(rate: Mapping[str, Any]) -> str:
    return str(Rate(rate["hits"], rate["of"]))
