"""What the page and the terminal show, made of the messages of any number of streams."""

from collections.abc import Iterator, Sequence
from itertools import cycle, pairwise
from typing import Any

from ..metrics import FATES, INJECTED_SNRS
from ..plots.detection import IMAGE
from ..shares import wilson
from ..wire import DetectionMessage, Message
from .watched import BINS, BINS_A_DECADE, LOWEST, PAST_S, WORK, Watched

#: The worst first: what an operator must know of.
STATES = (
    *("no contact", "silent", "late", "insensitive", "waiting"),
    *("stopping", "ended", "live", "recorded"),
)

#: What each means, in large letters, and in a sentence.
VERDICTS = {
    "no contact": ("NO CONTACT", "nothing is heard of it: does mlppa run, and is the network up?"),
    "silent": ("SILENT", "no data come in: is the sender there?"),
    "late": ("LATE", "it needs more than the time there is"),
    "insensitive": ("BLIND", "it misses pulses that were put in"),
    "waiting": ("WAITING", "no observation has begun"),
    "stopping": ("STOPPING", "what is in flight still comes out"),
    "ended": ("ENDED", "it said that it stops"),
    "live": ("KEEPS UP", "data come, and are searched in time"),
    "recorded": ("RECORDED", "a search of files: nothing comes live"),
    "nothing": ("NOTHING YET", "no message has come"),
}

#: Columns of the coverage, and detections and batches of all streams together.
COLUMNS, PULSES, POINTS = 120, 12, 1500

#: Colours that are told from each other with any colour vision (Okabe and Ito), on light and dark.
FATE_COLOURS = dict(zip(FATES, ("#009e73", "#e69f00", "#d55e00", "#cc79a7"), strict=True))
MODEL_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")

#: Columns of each plot.
PLOTS: dict[str, tuple[str, ...]] = {
    "dt": ("minutes", "ratio", "model", "stream", "colour"),
    "histogram": ("left", "right", "share", "count", "model", "colour"),
    "stages": ("stage", "share"),
    "coverage": ("left", "right", "bottom", "top", "fate", "stream", "share", "colour"),
    "completeness": ("snr", "percent", "low", "high", "found", "of"),
}

type Columns = dict[str, list[Any]]

#: 95 % of where a share may lie.
SIGMA = 1.96


class View:
    """All streams that are followed.

    Parameters
    ----------
    sources
        What they come from, as a person would call it.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        self.sources = list(sources)
        self.streams: dict[tuple[int, str], Watched] = {}
        self.faults: dict[str, str] = {}

    def take(self, source: int, message: Message, heard_s: float) -> None:
        """Learn from a message of a source."""
        self._of(source, message.stream).take(message, heard_s)

    def remember(self, source: int, pulses: Sequence[DetectionMessage]) -> None:
        """Take up pulses of before, of one stream, by time."""
        if pulses:
            self._of(source, pulses[0].stream).remember(pulses)

    def forget(self, source: int, stream: str) -> None:
        """Forget a stream: its messages begin anew."""
        self.streams.pop((source, stream), None)

    def note(self, thing: str, fault: str) -> None:
        """Note why something cannot be followed; an empty fault is none any more."""
        self.faults.pop(thing, None)
        if fault:
            self.faults[thing] = fault

    def _of(self, source: int, stream: str) -> Watched:
        return self.streams.setdefault((source, stream), Watched(stream, source))

    def snapshot(self, now_s: float) -> dict[str, Any]:
        """Give all that is shown, in plain values that JSON can hold.

        Parameters
        ----------
        now_s
            Seconds since 1970.
        """
        every = self._named()
        states = {name: one.state(now_s) for name, one in every.items()}
        worst = min(states.values(), key=STATES.index, default="nothing")
        told = {name: one.described(now_s) for name, one in every.items()}
        models = sorted({model for one in every.values() for model in one.histograms})
        colours = dict(zip(models, cycle(MODEL_COLOURS), strict=False))
        return {
            "now_s": now_s,
            "sources": self.sources,
            "faults": list(self.faults.values()),
            "verdict": {
                "state": worst,
                "streams": [name for name, state in states.items() if state == worst],
            },
            "streams": told,
            "detections": list(self._pulses(every)),
            "verdicts": VERDICTS,
            "image_box": IMAGE,
            "colours": {"model": colours, "fate": FATE_COLOURS},
            "plots": {
                "dt": _dt(every, now_s, colours),
                "histogram": _histogram(every, colours),
                "stages": _stages(every),
                "coverage": _coverage(every, now_s),
                "completeness": _completeness(every),
            },
        }

    def _named(self) -> dict[str, Watched]:
        """Give every stream a name of its own: with its source, where another is called so."""
        names = [stream for _, stream in self.streams]
        return {
            stream if names.count(stream) == 1 else f"{stream} ({self.sources[source]})": one
            for (source, stream), one in sorted(self.streams.items())
        }

    def _pulses(self, every: dict[str, Watched]) -> Iterator[dict[str, Any]]:
        """Give the latest detections of all streams, the last first."""
        found = [(m, name, one.source) for name, one in every.items() for m in one.pulses]
        found.sort(key=lambda item: item[0].created, reverse=True)
        for message, name, source in found[:PULSES]:
            told = message.model_dump(exclude={"listed", "schema_", "stream"})
            yield told | {"stream": name, "source": source}


def _dt(every: dict[str, Watched], now_s: float, colours: dict[str, str]) -> Columns:
    """Give dT over its budget along the clock."""
    room = max(POINTS // max(len(every), 1), 1)
    rows = [
        (
            (batch.at_s - one.newest_s(now_s)) / 60,
            batch.ratio,
            batch.model,
            name,
            colours[batch.model],
        )
        for name, one in every.items()
        for batch in [*one.batches][-room:]
        if one.newest_s(now_s) - batch.at_s < PAST_S
    ]
    return _columns("dt", rows)


def _histogram(every: dict[str, Watched], colours: dict[str, str]) -> Columns:
    """Give how often dT was so and so much of its budget, by model: those of all streams."""
    sums: dict[str, list[int]] = {}
    for one in every.values():
        for model, counts in one.histograms.items():
            into = sums.setdefault(model, [0] * BINS)
            sums[model] = [a + b for a, b in zip(into, counts, strict=True)]
    rows = []
    for model, counts in sorted(sums.items()):
        for number, count in enumerate(counts):
            if count:
                left, right = (10 ** (LOWEST + (number + n) / BINS_A_DECADE) for n in (0, 1))
                rows.append((left, right, count / sum(counts), count, model, colours[model]))
    return _columns("histogram", rows)


def _stages(every: dict[str, Watched]) -> Columns:
    """Give the part of real time of every stage; of several streams the highest."""
    shares = [one.stage_shares() for one in every.values()]
    rows = [
        (stage, max(one[stage] for one in shares if stage in one))
        for stage in WORK
        if any(stage in one for one in shares)
    ]
    return _columns("stages", rows)


def _coverage(every: dict[str, Watched], now_s: float) -> Columns:
    """Give what became of the sky: for each stream a row, filled as far as it was covered."""
    live = any(one.is_live for one in every.values())
    spans = [len(one.sky_s) for one in every.values()]
    past_s = PAST_S if live else max([min(max(spans, default=0), PAST_S), 10])
    width = max(1, round(past_s / COLUMNS))
    rows = []
    for row, (name, one) in enumerate(every.items()):
        newest = one.newest_s(now_s)
        columns: dict[int, list[float]] = {}
        for second, parts in one.sky_s.items():
            at = int((newest - second) // width)
            if 0 <= at * width < past_s:
                into = columns.setdefault(at, [0.0] * len(FATES))
                columns[at] = [a + b for a, b in zip(into, parts, strict=True)]
        for at, parts in columns.items():
            left, right = (-(at + n) * width / 60 for n in (1, 0))
            bottom, scale = row - 0.4, 0.8 / max(width, sum(parts))
            for fate, part in zip(FATES, parts, strict=True):
                if part > 1e-6:
                    top = bottom + part * scale
                    colour = FATE_COLOURS[fate]
                    rows.append((left, right, bottom, top, fate, name, part / width, colour))
                    bottom = top
    return _columns("coverage", rows)


def _completeness(every: dict[str, Watched]) -> Columns:
    """Give the part of the synthetic pulses that was found, by S/N, and where it may lie."""
    rows = []
    edges = [*INJECTED_SNRS, 2 * INJECTED_SNRS[-1]]
    for low, high in pairwise(edges):
        found = sum(one.injected[low, True] for one in every.values())
        missed = sum(one.injected[low, False] for one in every.values())
        if of := found + missed:
            least, most = wilson(found, of, SIGMA)
            middle = (max(low, INJECTED_SNRS[1] - 1) * high) ** 0.5
            rows.append((middle, 100 * found / of, 100 * least, 100 * most, found, of))
    return _columns("completeness", rows)


def _columns(plot: str, rows: Sequence[Sequence[Any]]) -> Columns:
    return {name: [row[n] for row in rows] for n, name in enumerate(PLOTS[plot])}
