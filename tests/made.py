"""Labelled images made up: what a network learns at once."""

import numpy as np

from mlppa.images import FEATURES
from mlppa.training.examples import CLASSES, FACTS, TALLY, Examples


def stand_in(count: int, res: int) -> Examples:
    """Images of noise, half of them with an upright bow-tie in the middle."""
    rng = np.random.default_rng(5)
    labels = np.arange(count) % 2 == 0
    images = rng.standard_normal((count, res, res)).astype(np.float32)
    rows, columns = np.indices((res, res)) - res // 2
    spread = 1 + np.abs(rows)
    images[labels] += (np.abs(columns) <= spread / 2 + 1) * 6 / np.sqrt(spread)
    features = np.ones((count, len(FEATURES)), np.float32)
    features[:, :4] = 8, 10, 0.2, 1.5
    facts = np.zeros(count, FACTS)
    facts["label"], facts["sky"] = labels, np.arange(count) // 4
    facts["kind"] = np.where(labels, 0, len(CLASSES) - 1)
    facts["dm"], facts["width_ms"], facts["band"] = np.where(labels, 300, 3), 3.0, 0.9
    facts["f_lo_mhz"], facts["f_hi_mhz"] = 1200, 1500
    # one in five was measured in a quarter of the band
    facts["part"] = np.where(np.arange(count) % 5 == 0, 0.25, 1)
    # one in ten is hardly dispersed
    facts["sweep"], facts["width_samples"] = np.where(np.arange(count) % 20 < 2, 4, 100), 3
    others = np.bincount(facts["sky"][~labels])
    tallies = np.zeros(len(others), TALLY)
    tallies["sky"], tallies["hours"] = np.arange(len(others)), 0.01
    # half of the others were not kept
    tallies["others"] = 2 * others
    return Examples(images.astype(np.float16), features, facts, tallies)


def silent(*_: object) -> None:
    pass
