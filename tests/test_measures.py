"""Measures: known answers for rates, curves, thresholds and calibration."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from mlppa.training.measures import (
    Rate,
    Reliability,
    Scores,
    average_precision,
    calibrate,
    precision_recall,
    roc,
    roc_auc,
    threshold_for,
)


@given(of=st.integers(1, 5000), share=st.floats(0, 1))
def test_intervals_are_those_of_wilson(of: int, share: float) -> None:
    hits = round(share * of)
    expected = binomtest(hits, of).proportion_ci(method="wilson")
    low, high = Rate(hits, of).interval
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_a_rate_of_nothing_says_so() -> None:
    assert str(Rate(0, 0)) == "-"
    assert np.isnan(Rate(0, 0).value)
    assert str(Rate(99, 100)) == "99.00 % (94.55 to 99.82)"


def test_a_confusion_matrix_and_what_follows() -> None:
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], bool)
    said = np.array([1, 1, 1, 0, 1, 0, 0, 0, 0, 0], bool)
    scores = Scores.of(said, labels)
    assert (scores.true_pulses, scores.missed, scores.false, scores.true_others) == (3, 1, 1, 5)
    assert scores.recall.value == scores.precision.value == scores.f1 == 0.75
    assert scores.accuracy.value == 0.8
    assert scores.false_positive_rate.value == pytest.approx(1 / 6)


def test_areas_of_the_perfect_the_useless_and_the_wrong() -> None:
    labels = np.arange(1000) % 4 == 0
    perfect = labels.astype(np.float32)
    assert roc_auc(perfect, labels) == average_precision(perfect, labels) == 1
    assert roc_auc(1 - perfect, labels) == 0
    assert roc_auc(np.full(1000, 0.3), labels) == 0.5
    assert average_precision(np.full(1000, 0.3), labels) == 0.25
    false, recall = roc(perfect, labels)
    assert (false.tolist(), recall.tolist()) == ([0, 0, 1], [0, 1, 1])


@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.9]), st.booleans()), min_size=2).filter(
        lambda pairs: 0 < sum(label for _, label in pairs) < len(pairs)
    )
)
def test_the_area_is_the_chance_that_a_pulse_is_told_from_another(
    pairs: list[tuple[float, bool]],
) -> None:
    p, labels = (np.array(x) for x in zip(*pairs, strict=True))
    won = (p[labels][:, None] > p[~labels]) + 0.5 * (p[labels][:, None] == p[~labels])
    assert roc_auc(p, labels) == pytest.approx(won.mean())
    precision, recall = precision_recall(p, labels)
    assert precision[-1] == pytest.approx(labels.mean())
    assert recall[-1] == 1


@given(st.integers(1, 300), st.floats(0, 1), st.integers(0, 9))
def test_no_more_than_that_pass_a_threshold(of: int, rate: float, seed: int) -> None:
    p = np.random.default_rng(seed).random(of).astype(np.float32)
    labels = np.zeros(of, bool)
    threshold = threshold_for(p, labels, rate)
    assert (p >= threshold).mean() <= rate
    # and no more are kept out than must be
    assert (p >= threshold).sum() >= min(int(rate * of), of)


def test_true_probabilities_are_reliable_and_boasts_are_not() -> None:
    rng = np.random.default_rng(2)
    p = rng.random(100_000)
    labels = rng.random(100_000) < p
    assert Reliability.of(p, labels).error < 0.005
    boasting = np.where(p > 0.5, 0.999, 0.001)
    assert Reliability.of(boasting, labels).error == pytest.approx(0.25, abs=0.01)
    assert Reliability.of(p, labels).count.sum() == 100_000


def test_calibration_finds_the_temperature_and_the_offset() -> None:
    rng = np.random.default_rng(3)
    z = rng.normal(0, 2, 50_000)
    labels = rng.random(50_000) < 1 / (1 + np.exp(-z))
    found = calibrate(3 * (z - 0.5), labels)
    assert found.temperature == pytest.approx(3, rel=0.05)
    assert found.offset == pytest.approx(0.5, abs=0.05)
    nothing = calibrate(z, np.ones(50_000, bool))
    assert (nothing.temperature, nothing.offset) == (1, 0)
