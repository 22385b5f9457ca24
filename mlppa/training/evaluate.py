"""Judge models on images that none was trained on: tables and pictures, as a report."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..disk import make_folder, write_whole
from ..plots import plot_recall, plot_reliability, plot_roc
from .examples import LIVE_SNR
from .judging import (
    DISPERSED_WIDTHS,
    RECALL_BINS,
    Judged,
    Judgements,
    recall_between,
    scores,
)
from .measures import Rate, Reliability, precision_recall, roc


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
        "models": {one.name: scores(judgements, one) for one in judgements.models},
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
        "hours": float(judgements.tallies["hours"].sum()),
        "pulses_put_in": int(judgements.tallies["pulses"].sum()),
        "pulses_found": int(judgements.tallies["found"].sum()),
        "live_pulses": int((labels & live).sum()),
        "live_others": int((~labels & live).sum()),
    }


def spreads(judgements: Judgements) -> list[dict[str, Any]]:
    """Compare models that differ in their seed only: mean and deviation of what counts."""
    found = []
    for every in _alike(judgements.models):
        # a copy of a model is no seed of its own
        alike = list({one.recipe["seed"]: one for one in reversed(every)}.values())[::-1]
        if len(alike) > 1:
            each = [scores(judgements, one) for one in alike]
            values = {
                name: [s[name]["value"] if isinstance(s[name], dict) else s[name] for s in each]
                for name in (*_COUNTS, "roc_auc", "calibration_error")
            }
            found.append(
                {"models": [one.name for one in alike]}
                | {
                    name: {"mean": float(np.mean(of)), "std": float(np.std(of, ddof=1))}
                    for name, of in values.items()
                    if None not in of
                }
            )
    return found


def _alike(models: Sequence[Judged]) -> Iterator[list[Judged]]:
    def key(one: Judged) -> str:
        recipe = dict(one.recipe)
        recipe.pop("seed", None)
        return json.dumps(recipe, sort_keys=True)

    told = [one for one in models if "seed" in one.recipe]
    for _, group in groupby(sorted(told, key=key), key):
        yield list(group)


def _draw(judgements: Judgements, folder: Path) -> None:
    live, labels = judgements.live, judgements.facts["label"]
    truth = labels[live]
    models = {one.name: one for one in judgements.models}
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
                (low, high, recall_between(judgements, one, by, low, high))
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

#: And of that by the part of the band.
_IN_PART = ("recall_snr_8_up", "recall_snr_7_to_8", "false_positive_rate")


def _lines(judgements: Judgements, content: Mapping[str, Any]) -> Iterator[str]:
    about = content["about"]
    yield "# How good the models are\n"
    yield (
        f"{about['images']} images of {about['skies']} simulated skies, of telescopes and "
        f"interference that no model was trained on; {about['live_pulses']} pulses and "
        f"{about['live_others']} others of S/N {LIVE_SNR:g} and more count, but for recall by "
        "S/N. In brackets the 95 % interval of Wilson. Each model is cut at the threshold of its "
        f"card, which other skies set. The search found {about['pulses_found']} of the "
        f"{about['pulses_put_in']} pulses put into {about['hours']:.1f} hours. Dispersed are "
        f"pulses with a sweep of {DISPERSED_WIDTHS:g} widths and more: others are hard to tell "
        "from a burst at DM 0 for anybody.\n"
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
        yield from _page(one.name, content["models"][one.name])


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
    yield "| measured in | recall, S/N >= 8 | recall, S/N 7 to 8 | false positives |"
    yield "|---" * 4 + "|"
    for part, rates in one["by_part"].items():
        yield f"| {part} | " + " | ".join(_percent(rates[key]) for key in _IN_PART) + " |"
    yield ""
    kinds = one["false_positives_by_kind"]
    yield "| others | " + " | ".join(kinds) + " |"
    yield "|---" * (len(kinds) + 1) + "|"
    yield "| kept | " + " | ".join(f"{r['hits']} of {r['of']}" for r in kinds.values()) + " |\n"
    shares = one["precision_where_one_in"]
    told = ", ".join(f"{100 * value:.1f} % of 1 in {many}" for many, value in shares.items())
    yield f"Pulses among what passes, where one in so many candidates is a pulse: {told}."
    if one["false_positives_per_hour"] is not None:
        yield f"\nFalse positives in an hour of such skies: {one['false_positives_per_hour']:.0f}."


def _percent(rate: Mapping[str, Any]) -> str:
    return str(Rate(rate["hits"], rate["of"]))
