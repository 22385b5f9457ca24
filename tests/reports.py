"""Reports as plain values, and their comparison to the last bit."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from mlppa.data import Report


def told(reports: Sequence[Report]) -> list[dict[str, Any]]:
    """Everything that reports say, as plain values; only what a clock measured is left out."""
    return [
        {
            "coverage": asdict(report.coverage),
            "budget_s": report.budget.budget_s,
            "detections": [
                asdict(d.candidate)
                | {f.name: getattr(d, f.name) for f in fields(d) if f.name != "picture"}
                | {"picture": d.picture and asdict(d.picture)}
                for d in report.detections
            ],
        }
        for report in reports
    ]


def assert_same(one: Any, other: Any) -> None:
    """Compare plain values and arrays to the last bit."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other)
    else:
        assert one == other
