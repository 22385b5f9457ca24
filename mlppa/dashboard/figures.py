"""The plots of the page as Bokeh has them, without data: those come with every snapshot."""

from typing import Any

from bokeh.models import ColumnDataSource, DataRange1d, FixedTicker, HoverTool
from bokeh.plotting import figure

from ..metrics import INJECTED_SNRS
from .view import PLOTS
from .watched import HIGHEST, LOWEST, PAST_S, WORK

#: Where real time ends, in every plot that has such a place.
LIMIT: dict[str, Any] = {
    "line_color": "#cc0033",
    "line_width": 2,
    "line_dash": "dashed",
    "name": "limit",
}

#: Tooltips: names come from messages and are shown as text.
_TIPS = {
    "dt": [("dT over budget", "@ratio{0.00000}"), ("model", "@model"), ("stream", "@stream")],
    "histogram": [("dT over budget", "@left{0.000000} to @right{0.000000}"), ("batches", "@count")],
    "stages": [("stage", "@stage"), ("of real time", "@share{0.0%}")],
    "coverage": [("stream", "@stream"), ("@fate", "@share{0.0%}")],
    "completeness": [("found", "@found of @of"), ("95 %", "@low{0} to @high{0} %")],
}


def figures() -> dict[str, figure]:
    """Give every plot by name; so is the source of each, which the page fills."""
    made = {
        "dt": _dt,
        "histogram": _histogram,
        "stages": _stages,
        "coverage": _coverage,
        "completeness": _completeness,
    }
    plots = {}
    for name, make in made.items():
        source = ColumnDataSource({column: [] for column in PLOTS[name]}, name=name)
        plots[name] = make(source)
        plots[name].name = f"figure {name}"
        plots[name].add_tools(HoverTool(tooltips=_TIPS[name]))
    return plots


def _figure(x: str, y: str, **options: Any) -> figure:
    plot = figure(
        sizing_mode="stretch_both",
        toolbar_location=None,
        tools="",
        background_fill_alpha=0,
        border_fill_alpha=0,
        output_backend="canvas",
        x_axis_label=x,
        y_axis_label=y,
        min_border_right=12,
        **options,
    )
    plot.outline_line_color = None
    return plot


def _dt(source: ColumnDataSource) -> figure:
    plot = _figure(
        "minutes (0: now, or the end)",
        "dT / budget",
        y_axis_type="log",
        x_range=(-PAST_S / 60, 0),
        y_range=(10.0**LOWEST, 10.0**HIGHEST),
    )
    plot.scatter("minutes", "drawn", source=source, color="colour", size=6, line_color=None)
    plot.hspan(y=[1], **LIMIT)
    return plot


def _histogram(source: ColumnDataSource) -> figure:
    plot = _figure(
        "dT / budget (1: real time)",
        "share",
        x_axis_type="log",
        x_range=(10.0**LOWEST, 10.0**HIGHEST),
        y_range=DataRange1d(start=0),
    )
    plot.quad(
        left="left",
        right="right",
        bottom=0,
        top="share",
        source=source,
        fill_color="colour",
        fill_alpha=0.6,
        line_color="colour",
    )
    plot.vspan(x=[1], **LIMIT)
    return plot


def _stages(source: ColumnDataSource) -> figure:
    plot = _figure("part of real time", "", y_range=[*reversed(WORK)], x_range=(0, 1.1))
    plot.hbar(y="stage", right="share", height=0.7, source=source, color="#0072b2")
    plot.vspan(x=[1], **LIMIT)
    plot.ygrid.grid_line_color = None
    return plot


def _coverage(source: ColumnDataSource) -> figure:
    plot = _figure(
        "minutes (0: now, or the end)",
        "",
        x_range=(-PAST_S / 60, 0),
        y_range=(-0.5, 0.5),
    )
    plot.quad(
        left="left",
        right="right",
        bottom="bottom",
        top="top",
        source=source,
        color="colour",
        line_color=None,
    )
    plot.yaxis.ticker = FixedTicker(ticks=[])
    plot.yaxis.name = "streams"
    plot.ygrid.grid_line_color = None
    return plot


def _completeness(source: ColumnDataSource) -> figure:
    edges = [snr for snr in INJECTED_SNRS if snr]
    plot = _figure(
        "S/N put in",
        "found (%)",
        x_axis_type="log",
        x_range=(edges[0] - 1, 2 * edges[-1]),
        y_range=(-3, 105),
    )
    plot.segment("snr", "low", "snr", "high", source=source, color="#0072b2", line_width=3)
    plot.scatter("snr", "percent", source=source, color="#0072b2", size=10)
    plot.xaxis.ticker = FixedTicker(ticks=edges)
    return plot
