"""The essentials of the page in a terminal, as for a night over ssh."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, ClassVar

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import DataTable, Footer, Static
from textual.worker import get_current_worker

from ..errors import MlppaError
from . import Followed, watch
from .view import STATES
from .watched import BINS, BINS_A_DECADE, LOWEST

#: How often it is new.
TELL_S = 1.0

#: Colours of levels; all others stay as they are.
STYLES = {"good": "green", "bad": "red"}

#: Columns of the streams, and of the detections.
STREAM_COLUMNS = ("stream", "state", "of real time", "latency", "searched", "found", "step")
PULSE_COLUMNS = ("when (UTC)", "stream", "DM", "S/N", "width (ms)", "probability", "what")

#: From empty to full, for a line of small bars.
BARS = " ▁▂▃▄▅▆▇█"


class Terminal(App[None]):
    """Streams, what they need of real time, and what they found.

    Parameters
    ----------
    followed
        What it shows.

    Attributes
    ----------
    error
        What ended it; None where nobody but its user did.
    """

    TITLE = "mlppa"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #verdict { height: 3; content-align: left middle; text-style: bold; padding: 0 2; }
    #trouble { color: $error; height: auto; padding: 0 2; }
    #streams { height: auto; max-height: 50%; }
    #pulses { height: 1fr; }
    #plots { height: auto; padding: 0 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("q", "quit", "Quit"),
        ("ctrl+c", "quit", "Quit"),
        ("d", "toggle_dark", "Dark"),
    ]

    def __init__(self, followed: Sequence[Followed]) -> None:
        super().__init__()
        self._followed = followed
        self.error: MlppaError | None = None

    def compose(self) -> ComposeResult:
        """Lay out."""
        yield Static("…", id="verdict")
        yield Static("", id="trouble")
        yield DataTable(id="streams", cursor_type="none")
        with Vertical(id="plots"):
            yield Static("", id="dt")
            yield Static("", id="sense")
        yield DataTable(id="pulses", cursor_type="none")
        yield Footer()

    def on_mount(self) -> None:
        """Begin to follow."""
        self.query_one("#streams", DataTable).add_columns(*STREAM_COLUMNS)
        self.query_one("#pulses", DataTable).add_columns(*PULSE_COLUMNS)
        self.follow()

    def on_unmount(self) -> None:
        """Let go of the sources."""
        for one in self._followed:
            one.close()

    @work(thread=True)
    def follow(self) -> None:
        """Take in messages, away from the screen; what goes wrong ends it, and is kept."""
        worker = get_current_worker()
        try:
            with closing(watch(self._followed, TELL_S)) as views:
                for view in views:
                    if worker.is_cancelled:
                        return
                    self.call_from_thread(self.show, view.snapshot(time.time()))
        except MlppaError as error:
            self.error = error
            self.call_from_thread(self.exit)

    def action_toggle_dark(self) -> None:
        """Change between light and dark."""
        self.theme = "textual-light" if self.theme != "textual-light" else "textual-dark"

    def show(self, now: Mapping[str, Any]) -> None:
        """Show what is to be seen now."""
        state = now["verdict"]
        verdict = Text(f"{STATES[state].large}  ", style=f"bold {_style(state)}".strip())
        verdict.append(STATES[state].sentence, style="not bold")
        self.query_one("#verdict", Static).update(verdict)
        self.query_one("#trouble", Static).update(Text("; ".join(now["faults"])))
        _fill(self.query_one("#streams", DataTable), map(_stream, now["streams"].items()))
        _fill(self.query_one("#pulses", DataTable), map(_pulse, now["detections"]))
        self.query_one("#dt", Static).update(Text("\n".join(_dt(now["plots"]["histogram"]))))
        self.query_one("#sense", Static).update(Text("\n".join(_sense(now["plots"]))))


def _fill(table: "DataTable[Text]", rows: Iterator[Sequence[Text]]) -> None:
    place = table.scroll_offset
    table.clear()
    table.add_rows(rows)
    table.scroll_to(*place, animate=False)


def _style(state: str) -> str:
    return STYLES.get(STATES[state].level, "")


def _stream(item: tuple[str, Mapping[str, Any]]) -> list[Text]:
    name, one = item
    sky = one["sky_s"]
    total_s = sum(sky.values())
    ratio, latency_s = one.get("ratio"), one.get("latency_s")
    return [
        Text(name),
        Text(one["state"], style=_style(one["state"])),
        Text("" if ratio is None else f"{ratio:.1%}", style="red" if (ratio or 0) > 1 else ""),
        Text("" if latency_s is None else f"{latency_s:.3f} s"),
        Text(f"{sky['searched'] / total_s:.1%}" if total_s else ""),
        Text(str(one["found"])),
        Text(one.get("rung_name", "")),
    ]


def _pulse(one: Mapping[str, Any]) -> list[Text]:
    what = "put in" if one["injected"] else one["known_source"] or one["source_name"]
    return [
        Text(one["created"][:19].replace("T", " ")),
        Text(one["stream"]),
        Text(f"{one['dm']:.2f}"),
        Text(f"{one['snr']:.1f}"),
        Text(f"{one['width_ms']:.2f}"),
        Text(f"{one['probability']:.3f}"),
        Text(what, style="dim" if one["injected"] else ""),
    ]


def _dt(histogram: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """Draw how often dT was so and so much of its budget: a line of bars for each model."""
    yield "dT over its budget, from 10⁻⁶ to 10 (│ real time)"
    for model in sorted(set(histogram["model"])):
        heights = [0] * BINS
        rows = zip(histogram["model"], histogram["left"], histogram["share"], strict=True)
        for name, left, share in rows:
            if name == model:
                at = round((math.log10(left) - LOWEST) * BINS_A_DECADE)
                heights[at] = 1 + int(share * (len(BARS) - 2))
        line = "".join(BARS[height] for height in heights)
        limit = -LOWEST * BINS_A_DECADE
        yield f"{line[:limit]}│{line[limit:]} {model}"


def _sense(plots: Mapping[str, Mapping[str, Sequence[Any]]]) -> Iterator[str]:
    """Tell what was found of the pulses that were put in, and how long the stages take."""
    found = plots["completeness"]
    yield "put in, and found: " + (
        ", ".join(
            f"S/N {snr:.0f}: {n}/{of}"
            for snr, n, of in zip(found["snr"], found["found"], found["of"], strict=True)
        )
        or "none"
    )
    stages = plots["stages"]
    yield "of real time: " + (
        ", ".join(
            f"{stage} {share:.1%}"
            for stage, share in zip(stages["stage"], stages["share"], strict=True)
            if share >= 0.0005
        )
        or "none"
    )
