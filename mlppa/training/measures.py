"""How good probabilities are: rates with their intervals, curves, calibration."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..data import BoolArray
from ..shares import wilson

type Probabilities = NDArray[np.floating]
type Float64 = NDArray[np.float64]

#: Bins of probability that calibration is measured in.
ECE_BINS = 15


@dataclass(frozen=True, slots=True)
class Rate:
    """A share, and the 95 % interval of Wilson 1927 (JASA 22, 209) around it.

    Parameters
    ----------
    hits, of
        The share is ``hits / of``.
    """

    hits: int
    of: int

    @classmethod
    def count(cls, which: BoolArray) -> Self:
        """Take the share of those that are true."""
        return cls(int(np.count_nonzero(which)), len(which))

    @property
    def value(self) -> float:
        """The share; NaN of nothing."""
        return self.hits / self.of if self.of else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Lowest and highest share that would not surprise."""
        return wilson(self.hits, self.of, 1.959964)

    def __str__(self) -> str:
        if not self.of:
            return "-"
        low, high = self.interval
        return f"{100 * self.value:.2f} % ({100 * low:.2f} to {100 * high:.2f})"


@dataclass(frozen=True, slots=True)
class Scores:
    """Probabilities of examples cut at a threshold: the confusion matrix and what follows."""

    true_pulses: int
    missed: int
    false: int
    true_others: int

    @classmethod
    def of(cls, said: BoolArray, labels: BoolArray) -> Self:
        """Count what was said against what is."""
        pairs = ((said, labels), (~said, labels), (said, ~labels), (~said, ~labels))
        return cls(*(int(np.count_nonzero(a & b)) for a, b in pairs))

    @property
    def recall(self) -> Rate:
        """Pulses that were taken for pulses."""
        return Rate(self.true_pulses, self.true_pulses + self.missed)

    @property
    def precision(self) -> Rate:
        """Pulses among what was taken for pulses."""
        return Rate(self.true_pulses, self.true_pulses + self.false)

    @property
    def false_positive_rate(self) -> Rate:
        """Others that were taken for pulses."""
        return Rate(self.false, self.false + self.true_others)

    @property
    def accuracy(self) -> Rate:
        """What was said rightly."""
        right = self.true_pulses + self.true_others
        return Rate(right, right + self.missed + self.false)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        wrong = self.missed + self.false
        return 2 * self.true_pulses / max(2 * self.true_pulses + wrong, 1)


def roc(probabilities: Probabilities, labels: BoolArray) -> tuple[Float64, Float64]:
    """Give the false-positive rate and the recall at every threshold, the highest first."""
    if not len(labels):
        return np.zeros(1), np.zeros(1)
    order = np.argsort(-probabilities, kind="stable")
    sorted_labels, sorted_p = labels[order], probabilities[order]
    last = np.append(np.flatnonzero(np.diff(sorted_p)), len(order) - 1)
    hits, wrong = np.cumsum(sorted_labels)[last], np.cumsum(~sorted_labels)[last]
    recall = np.append(0.0, hits / max(int(labels.sum()), 1))
    return np.append(0.0, wrong / max(int((~labels).sum()), 1)), recall


def roc_auc(probabilities: Probabilities, labels: BoolArray) -> float:
    """Area under the recall as it grows with the false-positive rate."""
    false, recall = roc(probabilities, labels)
    return float(np.trapezoid(recall, false))


def precision_recall(
    probabilities: Probabilities, labels: BoolArray
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the precision and the recall at every threshold, the highest first."""
    false, recall = roc(probabilities, labels)
    hits, wrong = recall * labels.sum(), false * (~labels).sum()
    return hits[1:] / np.maximum(hits[1:] + wrong[1:], 1e-9), recall[1:]


def average_precision(probabilities: Probabilities, labels: BoolArray) -> float:
    """Mean of the precision over the recall."""
    precision, recall = precision_recall(probabilities, labels)
    return float((precision * np.diff(np.append(0.0, recall))).sum())


def threshold_for(
    probabilities: Probabilities, labels: BoolArray, false_positive_rate: float
) -> float:
    """Give the least threshold at which no more of the others than that pass."""
    others = np.sort(probabilities[~labels])[::-1]
    allowed = int(false_positive_rate * len(others))
    if allowed >= len(others):
        return 0.0
    # the first that must not pass; just above it, whatever the number type
    return min(float(np.nextafter(np.float32(others[allowed]), np.float32(2))), 1.0)


@dataclass(frozen=True, slots=True)
class Reliability:
    """How often what is called likely is true, in bins of probability, shapes (nbins,)."""

    said: NDArray[np.float64]
    true: NDArray[np.float64]
    count: NDArray[np.int64]

    @classmethod
    def of(cls, probabilities: Probabilities, labels: BoolArray, bins: int = ECE_BINS) -> Self:
        """Sort probabilities into bins of equal width."""
        place = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
        count = np.bincount(place, minlength=bins)
        some = np.maximum(count, 1)
        said, true = (np.bincount(place, x, bins) / some for x in (probabilities, labels))
        return cls(said, true, count)

    @property
    def error(self) -> float:
        """Expected calibration error (Guo et al. 2017, ICML 70, 1321)."""
        return float(
            (self.count * np.abs(self.said - self.true)).sum() / max(int(self.count.sum()), 1)
        )


@dataclass(frozen=True, slots=True)
class Calibration:
    """What makes log odds of a network true ones: divided, and moved."""

    temperature: float
    offset: float


def calibrate(logits: Float64, labels: BoolArray) -> Calibration:
    """Find what brings log odds to those of the labels.

    As Platt 1999 (Advances in Large Margin Classifiers, 61) does, with targets that are not
    quite 0 and 1: else what learnt everything by heart would be made infinitely sure.
    """
    from scipy.optimize import minimize

    pulses, others = np.count_nonzero(labels), np.count_nonzero(~labels)
    if not pulses or not others:
        return Calibration(1.0, 0.0)
    targets = np.where(labels, (pulses + 1) / (pulses + 2), 1 / (others + 2))

    def loss(at: Float64) -> float:
        z = logits * np.exp(at[0]) + at[1]
        return float(np.mean(np.logaddexp(0, z) - targets * z))

    scale, offset = minimize(loss, np.zeros(2), method="Nelder-Mead").x
    return Calibration(float(np.exp(-scale)), float(offset))
