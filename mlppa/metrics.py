"""Every metric that mlppa exports, in one place.

Names follow the Prometheus conventions: base units, ``_total`` on counters (added
by the client library). Labels have few values, and every series is created before
the first scrape: here where the values are known, and by the one who opens a queue
or a sink where they are not. Science goes into messages, never into labels.
"""

import platform

from prometheus_client import Counter, Gauge, Histogram, Info, Summary

from . import __version__

BUILD = Info("mlppa_build", "Version of the program, and of Python")
BUILD.info({"version": __version__, "python": platform.python_version()})
MODEL = Gauge(
    "mlppa_model_info",
    "1 for each network that is loaded, for what computes it, and what the configuration wants",
    ["model", "sha256", "engine", "device", "wanted"],
)
ACCELERATORS = Gauge("mlppa_accelerators", "Graphics processors in the machine, in use or not")
DISK_FREE = Gauge("mlppa_disk_free_bytes", "Room on the disk of the output folder")
DISK_SIZE = Gauge("mlppa_disk_size_bytes", "Size of the disk of the output folder")

#: What becomes of a sample; the four add up to the samples of the coverage.
FATES = ("searched", "masked", "missing", "shed")

#: Stages that are timed, in the order of the pipeline.
STAGES = (
    *("read", "inject", "clean", "wait", "screen", "search"),
    *("images", "classify", "decide", "publish", "plot"),
)

BLOCKS = Counter("mlppa_blocks", "Blocks read or received")
SAMPLES = Counter("mlppa_samples", "Samples, by what became of them", ["fate"])
SKY_SECONDS = Counter(
    "mlppa_sky_seconds", "Sky of a live stream, by what became of it", ["stream", "fate"]
)
MASKED_CHANNELS = Gauge("mlppa_masked_channels", "Channels of the band that are left out now")
GAPS = Counter("mlppa_gaps", "Jumps of the sample index in the input")
LATE = Counter("mlppa_late_samples", "Samples that came when their time had been given up")

#: What becomes of a heap that a live input receives.
HEAP_FATES = ("used", "duplicate", "late", "foreign", "stray", "malformed", "incomplete")

HEAPS = Counter("mlppa_heaps", "Heaps of live inputs, by what became of them", ["fate"])
PACKETS_DROPPED = Counter(
    "mlppa_packets_dropped", "Packets that the kernel dropped at an input: no room, or no SPEAD"
)
BAD_HEADERS = Counter("mlppa_bad_headers", "Observations of a ring whose header could not be used")

QUEUE_DEPTH = Gauge("mlppa_queue_depth", "Items that wait in a queue", ["queue"])
DROPPED = Counter("mlppa_dropped", "Items dropped because a queue was full", ["queue"])

STAGE_SECONDS = Summary("mlppa_stage_seconds", "Time spent in a stage, per gulp", ["stage"])
DT_SECONDS = Histogram(
    "mlppa_dt_seconds",
    "dT: from having a batch of images to having its probabilities",
    ["model", "batch"],
    buckets=(0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3),
)
#: The edges 0.8 and 1 are where a stream has recovered, and where it is late.
DT_RATIO = Histogram(
    "mlppa_dt_budget_ratio",
    "dT over the new sky that its batch stands for: real time holds below 1",
    ["model", "batch"],
    buckets=(0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.8, 1, 3),
)
LATENCY_SECONDS = Histogram(
    "mlppa_latency_seconds",
    "From complete data at the input to the message sent",
    buckets=(0.1, 0.3, 1, 3, 10, 30, 100),
)

BLOCK_LATENCY_SECONDS = Histogram(
    "mlppa_block_latency_seconds",
    "From the last sample of a batch coming in to its messages",
    buckets=(0.1, 0.3, 1, 3, 10, 30, 100),
)

#: What a live stream can be in; each is 1 while it is.
STATES = ("waiting", "live", "late", "silent", "insensitive", "stopping")

STATE = Gauge("mlppa_stream_state", "Which state a live stream is in", ["stream", "state"])
RATIO = Gauge("mlppa_real_time_ratio", "Part of real time that a stream needs", ["stream"])
RUNG = Gauge("mlppa_ladder_rung", "Step of the ladder that a stream is on", ["stream"])
STEPS = Counter("mlppa_ladder_steps", "Steps on the ladder", ["stream", "way"])
UNWRITTEN = Gauge("mlppa_unwritten_messages", "Messages that wait for the journal", ["stream"])
BACKLOG_SECONDS = Gauge("mlppa_backlog_seconds", "Sky that came and is not done", ["stream"])
OBSERVATIONS = Counter("mlppa_observations", "Observations that began", ["stream"])
REFUSED = Counter("mlppa_refused_observations", "Those that could not be searched", ["stream"])

#: Lower edges of the S/N by which synthetic pulses are counted.
INJECTED_SNRS = (0, 7, 8, 10, 15, 20, 30)
INJECTIONS = Counter(
    "mlppa_injections", "Synthetic pulses, by S/N from this on and by fate", ["snr", "fate"]
)
RECOVERED = Gauge("mlppa_recovered_ratio", "Part of the latest synthetic pulses found", ["stream"])

STORM_DROPPED = Counter(
    "mlppa_storm_dropped",
    "What a storm left no time for: raw peaks, candidates to measure",
    ["kind"],
)

#: What becomes of a line of a list.
LINE_FATES = ("candidate", "repeated", "unread")

LIST_LINES = Counter("mlppa_list_lines", "Lines of lists, by what became of them", ["fate"])

#: What becomes of a file that comes into a folder.
FILE_FATES = ("read", "refused", "unfinished", "repeated")

FILES = Counter("mlppa_files", "Files of a folder that fills, by what became of them", ["fate"])
CANDIDATES = Counter("mlppa_candidates", "Classified candidates, by verdict", ["label"])
DETECTIONS = Counter("mlppa_detections", "Detections published", ["injected"])
SINK_ERRORS = Counter("mlppa_sink_errors", "Messages that a sink could not take", ["sink"])

for _fate in FATES:
    SAMPLES.labels(fate=_fate)
for _fate in HEAP_FATES:
    HEAPS.labels(fate=_fate)
for _stage in STAGES:
    STAGE_SECONDS.labels(stage=_stage)
for _kind in ("peak", "candidate"):
    STORM_DROPPED.labels(kind=_kind)
for _fate in LINE_FATES:
    LIST_LINES.labels(fate=_fate)
for _fate in FILE_FATES:
    FILES.labels(fate=_fate)
for _label in ("pulse", "rfi"):
    CANDIDATES.labels(label=_label)
for _snr in INJECTED_SNRS:
    for _fate in ("found", "missed", "lost"):
        INJECTIONS.labels(snr=str(_snr), fate=_fate)
for _injected in ("true", "false"):
    DETECTIONS.labels(injected=_injected)
