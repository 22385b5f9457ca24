"""What a plot is, and the expressions of Prometheus that it shows.

The names of series come from `mlppa.metrics`: no plot can ask for what there is not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from prometheus_client.metrics import MetricWrapperBase

from mlppa import metrics as m


@dataclass(frozen=True)
class Plot:
    """One panel.

    Parameters
    ----------
    title
        What it shows.
    unit
        Of its axis, as Grafana names it; ``suffix: heaps`` for things that are counted.
    queries
        Expressions, by the legend of their series.
    kind
        How it looks; a bar is a number over the whole time that is shown.
    line
        Where a line is drawn, for what must stay below (or above) it.
    """

    title: str
    unit: str
    queries: Mapping[str, str]
    kind: Literal["lines", "stack", "heat", "states", "bars", "table"] = "lines"
    line: float | None = None


type Rows = Mapping[str, Sequence[Plot]]


def series(metric: MetricWrapperBase, part: str = "", **labels: str) -> str:
    """Select the series of a metric: of the chosen instances and, if it has any, streams.

    Raises
    ------
    ValueError
        The metric has no such label.
    """
    (family,) = metric.describe()
    known = metric._labelnames
    if unknown := labels.keys() - {*known}:
        raise ValueError(f"{family.name} has no label {', '.join(unknown)}")
    name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, part)
    chosen = {"instance": "$instance"} | ({"stream": "$stream"} if "stream" in known else {})
    return name + "{" + ",".join(f'{k}=~"{v}"' for k, v in (chosen | labels).items()) + "}"


def rate(metric: MetricWrapperBase, part: str = "", **labels: str) -> str:
    """How much a metric grows in a second."""
    return f"rate({series(metric, part, **labels)}[$__rate_interval])"


def grown(metric: MetricWrapperBase, by: str, **labels: str) -> str:
    """How much a metric has grown over the time that is shown, by labels."""
    return f"sum by ({by}) (increase({series(metric, **labels)}[$__range]))"


def quantiles(metric: MetricWrapperBase, *by: str) -> dict[str, str]:
    """Give the quantiles of a histogram, for every value of some labels."""
    buckets = f"sum by ({', '.join(['le', 'instance', *by])}) ({rate(metric, '_bucket')})"
    told = " ".join("{{" + label + "}}" for label in ("instance", *by))
    return {f"{q:.0%} {told}": f"histogram_quantile({q}, {buckets})" for q in (0.5, 0.9, 0.99)}


def heat(metric: MetricWrapperBase) -> dict[str, str]:
    """Count what falls into every bucket of a histogram."""
    buckets = series(metric, "_bucket")
    return {"{{le}}": f"sum by (le) (increase({buckets}[$__rate_interval]))"}


def part_of(metric: MetricWrapperBase, by: str, **labels: str) -> str:
    """Part of a counter's growth that goes to some of its labels."""
    some, all_ = rate(metric, **labels), rate(metric)
    return f"sum by ({by}) ({some}) / (sum by ({by}) ({all_}) > 0)"


def pace(*stages: str) -> str:
    """Seconds that stages take for a second of sky; of several streams of a daemon the mean."""
    spent = f"sum by (instance, stage) ({rate(m.STAGE_SECONDS, '_sum', stage='|'.join(stages))})"
    sky = f"sum by (instance) ({rate(m.SKY_SECONDS)})"
    return f"{spent} / on (instance) group_left () ({sky} > 0)"


def completeness(snr: int) -> str:
    """Part of the synthetic pulses from one S/N on, up to the next edge, that was found."""
    found = grown(m.INJECTIONS, "snr", snr=str(snr), fate="found")
    return f"{found} / ({grown(m.INJECTIONS, 'snr', snr=str(snr), fate='found|missed')} > 0)"


def states() -> str:
    """Give the number of the state that a stream is in, as they stand in `metrics.STATES`."""
    coded = (f"{n} * {series(m.STATE, state=name)}" for n, name in enumerate(m.STATES))
    return "sum by (instance, stream) (" + " or ".join(coded) + ")"
