from prometheus_client import REGISTRY, Metric

from mlppa import metrics

from .conftest import MetricDelta


def ours() -> list[Metric]:
    return [metric for metric in REGISTRY.collect() if metric.name.startswith("mlppa_")]


def test_names_follow_the_conventions() -> None:
    assert len(ours()) > 10
    for metric in ours():
        words = metric.name.split("_")
        assert metric.documentation, metric.name
        assert not {"ms", "us", "milliseconds", "mhz", "percent"} & set(words), metric.name
        for sample in metric.samples:
            assert (metric.type == "counter") == sample.name.endswith(("_total", "_created")) or (
                metric.type in ("histogram", "summary")
            ), sample.name


def test_series_exist_before_anything_happens(metric_delta: type[MetricDelta]) -> None:
    for fate in metrics.FATES:
        assert metric_delta("mlppa_samples_total", fate=fate)() == 0
    for stage in metrics.STAGES:
        assert metric_delta("mlppa_stage_seconds_count", stage=stage)() == 0
    for injected in ("true", "false"):
        assert metric_delta("mlppa_detections_total", injected=injected)() == 0
    for kind in ("peak", "candidate"):
        assert metric_delta("mlppa_storm_dropped_total", kind=kind)() == 0
    for label in ("pulse", "rfi"):
        assert metric_delta("mlppa_candidates_total", label=label)() == 0


def test_labels_have_few_values() -> None:
    few = {"fate", "stage", "queue", "kind", "label", "injected", "sink", "le"}
    few |= {"stream", "state", "way", "snr", "model", "batch"}
    few |= {"sha256", "engine", "device", "wanted", "version", "python"}
    for metric in ours():
        for sample in metric.samples:
            assert set(sample.labels) <= few, sample
