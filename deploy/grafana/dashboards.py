"""The dashboards of mlppa: a plot is a title, a unit, and expressions by their legends.

``python -m deploy.grafana.dashboards`` writes them into ``dashboards/``.
"""

from collections.abc import Mapping
from pathlib import Path

from mlppa import metrics as m
from mlppa.watchdog import THREADS

from .panels import make
from .plots import (
    Plot,
    Rows,
    completeness,
    grown,
    heat,
    pace,
    part_of,
    quantiles,
    rate,
    series,
    states,
)

FOLDER = Path(__file__).parent / "dashboards"

STREAM = "{{instance}} {{stream}}"
RATIO = Plot("Part of real time that is needed", "percentunit", {STREAM: series(m.RATIO)}, line=1)

OPERATIONS: Rows = {
    "Streams": [
        Plot("State", "none", {STREAM: states()}, "states"),
        RATIO,
        Plot("Sky that waits", "s", {STREAM: series(m.BACKLOG_SECONDS)}),
        Plot(
            "Sky, by what became of it",
            "suffix: s/s",
            {"{{fate}}": f"sum by (fate) ({rate(m.SKY_SECONDS)})"},
            "stack",
        ),
        Plot(
            "Part of the sky that is searched",
            "percentunit",
            {STREAM: part_of(m.SKY_SECONDS, "instance, stream", fate="searched")},
        ),
        Plot("Rung of the ladder", "suffix: rung", {STREAM: series(m.RUNG)}),
        Plot(
            "Steps on the ladder",
            "suffix: steps",
            {STREAM + " {{way}}": grown(m.STEPS, "instance, stream, way")},
            "bars",
        ),
    ],
    "Input": [
        Plot("Blocks", "suffix: blocks/s", {"{{instance}}": rate(m.BLOCKS)}),
        Plot(
            "Heaps, by what became of them",
            "suffix: heaps/s",
            {"{{instance}} {{fate}}": rate(m.HEAPS)},
        ),
        Plot(
            "Gaps, packets that the kernel dropped",
            "suffix: /s",
            {
                "gaps {{instance}}": rate(m.GAPS),
                "packets {{instance}}": rate(m.PACKETS_DROPPED),
            },
        ),
        Plot("Samples that came too late", "suffix: samples/s", {"{{instance}}": rate(m.LATE)}),
        Plot(
            "Observations: begun, refused, with headers that are none",
            "suffix: observations",
            {
                "begun " + STREAM: grown(m.OBSERVATIONS, "instance, stream"),
                "refused " + STREAM: grown(m.REFUSED, "instance, stream"),
                "bad headers {{instance}}": grown(m.BAD_HEADERS, "instance"),
            },
            "bars",
        ),
        Plot(
            "Files and lines of lists",
            "suffix: in all",
            {
                "files {{fate}}": grown(m.FILES, "fate"),
                "lines {{fate}}": grown(m.LIST_LINES, "fate"),
            },
            "bars",
        ),
    ],
    "Output": [
        Plot("Queues", "suffix: items", {"{{instance}} {{queue}}": series(m.QUEUE_DEPTH)}),
        Plot(
            "Dropped by full queues", "suffix: items/s", {"{{instance}} {{queue}}": rate(m.DROPPED)}
        ),
        Plot(
            "Messages that sinks did not take",
            "suffix: /s",
            {"{{instance}} {{sink}}": rate(m.SINK_ERRORS)},
        ),
        Plot(
            "Messages that wait for the journal", "suffix: messages", {STREAM: series(m.UNWRITTEN)}
        ),
    ],
    "Machine": [
        Plot(
            "Disk of the output folder",
            "bytes",
            {"free {{instance}}": series(m.DISK_FREE), "size {{instance}}": series(m.DISK_SIZE)},
        ),
        Plot("Accelerators", "suffix: cards", {"{{instance}}": series(m.ACCELERATORS)}),
        Plot("Version", "none", {"": series(m.BUILD)}, "table"),
        Plot("Networks, and where they run", "none", {"": series(m.MODEL)}, "table"),
    ],
}

LATENCY: Rows = {
    "Against the budget": [
        RATIO,
        Plot(
            "Stages that must keep pace: part of real time, mean of the streams",
            "percentunit",
            {
                "{{instance}} {{stage}}": pace(
                    *(one for stages in THREADS.values() for one in stages)
                )
            },
            line=1,
        ),
        Plot("dT over the budget", "percentunit", quantiles(m.DT_RATIO, "model", "batch"), line=1),
        Plot("dT over the budget: batches", "percentunit", heat(m.DT_RATIO), "heat"),
        Plot("dT", "s", quantiles(m.DT_SECONDS, "model", "batch")),
        Plot("dT: batches", "s", heat(m.DT_SECONDS), "heat"),
    ],
    "From the sky to the message": [
        Plot("Latency of blocks", "s", quantiles(m.BLOCK_LATENCY_SECONDS)),
        Plot("Latency of blocks: how many", "s", heat(m.BLOCK_LATENCY_SECONDS), "heat"),
        Plot("Latency of detections", "s", quantiles(m.LATENCY_SECONDS)),
        Plot("Latency of detections: how many", "s", heat(m.LATENCY_SECONDS), "heat"),
    ],
}

SCIENCE: Rows = {
    "Found": [
        Plot(
            "Detections",
            "suffix: /h",
            {"injected: {{injected}}": f"3600 * sum by (injected) ({rate(m.DETECTIONS)})"},
        ),
        Plot(
            "Candidates, by verdict",
            "suffix: /h",
            {"{{label}}": f"3600 * sum by (label) ({rate(m.CANDIDATES)})"},
            "stack",
        ),
    ],
    "Synthetic pulses": [
        Plot(
            "Completeness: part that was found, by S/N",
            "percentunit",
            {f"S/N from {snr}": completeness(snr) for snr in m.INJECTED_SNRS},
            "bars",
        ),
        Plot(
            "Put in, by fate", "suffix: pulses", {"{{fate}}": grown(m.INJECTIONS, "fate")}, "bars"
        ),
        Plot(
            "Part of the latest clear ones", "percentunit", {STREAM: series(m.RECOVERED)}, line=0.8
        ),
    ],
    "Interference": [
        Plot(
            "Channels that are left out",
            "suffix: channels",
            {"{{instance}}": series(m.MASKED_CHANNELS)},
        ),
        Plot(
            "Part of the sky that is masked",
            "percentunit",
            {STREAM: part_of(m.SKY_SECONDS, "instance, stream", fate="masked")},
        ),
        Plot(
            "Part of the candidates that is interference",
            "percentunit",
            {"{{instance}}": part_of(m.CANDIDATES, "instance", label="rfi")},
        ),
        Plot(
            "Left out in storms",
            "suffix: /s",
            {"{{kind}}": f"sum by (kind) ({rate(m.STORM_DROPPED)})"},
        ),
        Plot(
            "Samples, by what became of them",
            "suffix: samples/s",
            {"{{fate}}": f"sum by (fate) ({rate(m.SAMPLES)})"},
            "stack",
        ),
    ],
}

DASHBOARDS: Mapping[str, Rows] = {
    "operations": OPERATIONS,
    "latency": LATENCY,
    "science": SCIENCE,
}


def main() -> None:
    """Write all dashboards."""
    for name, rows in DASHBOARDS.items():
        (FOLDER / f"{name}.json").write_text(make(name, rows))


if __name__ == "__main__":
    main()
