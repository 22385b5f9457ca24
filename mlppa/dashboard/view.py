"""What the page and the terminal show, made of the messages of any number of streams."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle, pairwise
from typing import Any, NamedTuple

from ..config import InjectSettings
from ..metrics import FATES, INJECTED_SNRS
from ..plots.detection import IMAGE
from ..shares import wilson
from ..watchdog import Limits
from ..wire import DetectionMessage, Message
from .watched import BINS_A_DECADE, HIGHEST, LOWEST, PAST_S, WORK, Key, Watched


class Face(NamedTuple):
    """How a state looks: its level (bad, good, none), large letters, and a sentence."""

    level: str
    large: str
    sentence: str


#: The worst first: what an operator must know of. Who has ended hides nobody who lives.
STATES = {
    "no contact": Face(
        "bad", "NO CONTACT", "nothing is heard of it: does mlppa run, and is the network up?"
    ),
    "silent": Face("bad", "SILENT", "no data come in: is the sender there?"),
    "late": Face("bad", "LATE", "it needs more than the time there is"),
    "no sky": Face("bad", "NO SKY", "data come, and can hardly be used: is the receiver on?"),
    "insensitive": Face("bad", "BLIND", "it misses pulses that were put in"),
    "waiting": Face("none", "WAITING", "no observation has begun"),
    "stopping": Face("none", "STOPPING", "what is in flight still comes out"),
    "live": Face("good", "KEEPS UP", "data come, and are searched in time"),
    "recorded": Face("none", "RECORDED", "a search of files: nothing comes live"),
    "ended": Face("none", "ENDED", "it said that it stops"),
    "nothing": Face("none", "NOTHING YET", "no message has come"),
}

#: From where on a number warns, and is bad: the part of real time that is needed, as the watchdog
#: has it; the part of the pulses put in that is found, as the alert MlppaInjectionsMissed has it,
#: and as a stream is insensitive unless its configuration says otherwise.
MARKS = {
    "ratio": {"warn": Limits().recovered, "bad": Limits().late},
    "recovered": {"warn": 0.8, "bad": InjectSettings().alert_below},
}

#: Columns of the coverage, detections and batches that are shown, and streams that are known.
COLUMNS, PULSES, POINTS, STREAMS = 120, 12, 1500, 1000

#: Colours that are told from each other with any colour vision (Okabe and Ito).
FATE_COLOURS = dict(zip(FATES, ("#009e73", "#e69f00", "#d55e00", "#cc79a7"), strict=True))
MODEL_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
OTHER_COLOUR = "#888888"

#: Columns of each plot.
PLOTS: dict[str, tuple[str, ...]] = {
    "dt": ("minutes", "drawn", "ratio", "model", "stream", "colour"),
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
    began_s
        Since when, in seconds since 1970: a source has a while to be heard.
    """

    def __init__(self, sources: Sequence[str], began_s: float) -> None:
        self.sources = list(sources)
        self.streams: dict[tuple[int, str], Watched] = {}
        self.faults: dict[str, str] = {}
        self._began_s = began_s

    def take(self, source: int, message: Message, heard_s: float, *, wired: bool = False) -> None:
        """Learn from a message of a source, heard over the wire or read in a journal."""
        if (one := self._of(source, message.stream)) is not None:
            one.wired |= wired
            one.take(message, heard_s)

    def remember(self, source: int, pulses: Sequence[DetectionMessage]) -> None:
        """Take up pulses of before, of one stream, by time."""
        if pulses and (one := self._of(source, pulses[0].stream)) is not None:
            one.remember(pulses)

    def forget(self, source: int, stream: str) -> None:
        """Forget a stream: its messages begin anew."""
        self.streams.pop((source, stream), None)

    def note(self, thing: str, fault: str) -> None:
        """Note why something cannot be followed; an empty fault is none any more."""
        self.faults.pop(thing, None)
        if fault:
            self.faults[thing] = fault

    def _of(self, source: int, stream: str) -> Watched | None:
        key = source, stream
        if key not in self.streams:
            if len(self.streams) >= STREAMS:
                self.note("streams", f"more than {STREAMS} streams: the others are left out")
                return None
            self.streams[key] = Watched(stream, source)
        return self.streams[key]

    def snapshot(self, now_s: float, chosen: str | None = None) -> dict[str, Any]:
        """Give all that is shown, in plain values that JSON can hold.

        Parameters
        ----------
        now_s
            Seconds since 1970.
        chosen
            The stream whose plots and detections are wanted; those of all where there is none
            of this name.
        """
        self.streams = {k: one for k, one in self.streams.items() if not one.is_past(now_s)}
        every = self._named()
        chosen = chosen if chosen in every else None
        shown = every if chosen is None else {chosen: every[chosen]}
        states = {name: one.state(now_s) for name, one in every.items()}
        histograms = {name: one.total("dt", now_s) for name, one in shown.items()}
        models = sorted({str(key[1]) for total in histograms.values() for key in total})
        colours = dict(zip(models, cycle(MODEL_COLOURS), strict=False))
        return {
            "now_s": now_s,
            "chosen": chosen,
            "faults": [*self.faults.values(), *_failing(every)],
            "verdict": min((states[n] for n in shown), key=[*STATES].index, default="nothing"),
            "states": {state: face._asdict() for state, face in STATES.items()},
            "marks": MARKS,
            "past_minutes": PAST_S / 60,
            "image_box": IMAGE,
            "colours": {"model": colours, "fate": FATE_COLOURS},
            "streams": {name: one.described(now_s) for name, one in every.items()},
            "shown": list(shown),
            "detections": list(_pulses(shown)),
            "plots": {
                "dt": _dt(shown, now_s, colours),
                "histogram": _histogram(histograms.values(), colours),
                "stages": _stages(shown),
                "coverage": _coverage(shown, now_s),
                "completeness": _completeness(shown, now_s),
            },
        }

    def _named(self) -> dict[str, Watched]:
        """Give every stream a name of its own: with its source, where another is called so.

        A source of which no stream is known stands for itself: it is not forgotten.
        """
        names = [stream for _, stream in self.streams]
        every: dict[str, Watched] = {}
        for (source, stream), one in sorted(self.streams.items()):
            alone = names.count(stream) == 1
            name = stream if alone else f"{stream} ({self.sources[source]})"
            every[name if name not in every else f"{name} {source + 1}"] = one
        heard = {source for source, _ in self.streams}
        for number, label in enumerate(self.sources):
            if number not in heard:
                every[label] = Watched(label, number, heard_s=self._began_s, expected=True)
        return every


def _pulses(every: dict[str, Watched]) -> Iterator[dict[str, Any]]:
    """Give the latest detections, the last first."""
    rows = [
        (m, name, one.source) for name, one in every.items() for m in (*one.pulses, *one.put_in)
    ]
    rows.sort(key=lambda item: item[0].created, reverse=True)
    # what was put in fills up what those of the sky leave free
    real = [item for item in rows if not item[0].injected][:PULSES]
    rows = [item for item in rows if item[0].injected][: PULSES - len(real)] + real
    rows.sort(key=lambda item: item[0].created, reverse=True)
    for message, name, source in rows:
        told = message.model_dump(exclude={"listed", "schema_", "stream"})
        yield told | {"stream": name, "source": source}


def _failing(every: dict[str, Watched]) -> Iterator[str]:
    """Tell of what does not work, by stream."""
    for name, one in every.items():
        if one.health is not None and one.health.failing:
            yield f"{name}: {', '.join(one.health.failing)} fails"


def _dt(every: dict[str, Watched], now_s: float, colours: dict[str, str]) -> Columns:
    """Give dT over its budget along the clock."""
    room = max(POINTS // max(len(every), 1), 1)
    rows = []
    for name, one in every.items():
        for batch in [*one.batches][-room:]:
            ago_s = one.newest_s(now_s) - batch.at_s
            if ago_s < PAST_S:
                colour = colours.get(batch.model, OTHER_COLOUR)
                drawn = min(max(batch.ratio, 10.0**LOWEST), 10.0**HIGHEST)
                rows.append((-ago_s / 60, drawn, batch.ratio, batch.model, name, colour))
    return _columns("dt", rows)


def _histogram(totals: Iterable[Counter[Key]], colours: dict[str, str]) -> Columns:
    """Give how often dT was so and so much of its budget, by model: those of all streams."""
    total = sum(totals, Counter[Key]())
    sums: Counter[str] = Counter()
    for (_, model, _), count in total.items():
        sums[str(model)] += count
    rows = []
    for (_, model, number), count in sorted(total.items()):
        left, right = (10 ** (LOWEST + (int(number) + n) / BINS_A_DECADE) for n in (0, 1))
        name = str(model)
        rows.append((left, right, count / sums[name], count, name, colours[name]))
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


def _completeness(every: dict[str, Watched], now_s: float) -> Columns:
    """Give the part of the synthetic pulses that was found, by S/N, and where it may lie."""
    rows = []
    total = sum((one.total("injected", now_s) for one in every.values()), Counter[Key]())
    edges = [*INJECTED_SNRS, 2 * INJECTED_SNRS[-1]]
    for low, high in pairwise(edges):
        found, missed = (total["injected", low, fate] for fate in (True, False))
        if of := found + missed:
            least, most = wilson(found, of, SIGMA)
            middle = (max(low, INJECTED_SNRS[1] - 1) * high) ** 0.5
            rows.append((middle, 100 * found / of, 100 * least, 100 * most, found, of))
    return _columns("completeness", rows)


def _columns(plot: str, rows: Sequence[Sequence[Any]]) -> Columns:
    return {name: [row[n] for row in rows] for n, name in enumerate(PLOTS[plot])}
