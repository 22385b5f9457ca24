"""From plots to the JSON of a dashboard of Grafana 10."""

import json
from typing import Any

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    AxisPlacement,
    GraphTresholdsStyleMode,
    StackingMode,
    TooltipDisplayMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    DataTransformerConfig,
    GridPos,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableOption,
    VariableRefresh,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from mlppa import metrics as m

from .plots import Plot, Rows, series

#: As `provisioning/datasources` names it.
SOURCE = DataSourceRef(type_val="prometheus", uid="mlppa-prometheus")

#: Of the states of a stream, in their order.
COLOURS = dict(zip(m.STATES, ("blue", "green", "orange", "red", "purple", "text"), strict=True))

#: What stands beside an axis; of a unit of its own that is its name.
AXES = {"percentunit": "part", "s": "seconds", "bytes": "bytes"}

WIDTH, HEIGHT = 12, 8

type AnyPanel = (
    timeseries.Panel | heatmap.Panel | statetimeline.Panel | bargauge.Panel | table.Panel
)


def limits(line: float | None) -> dashboard.ThresholdsConfig:
    """Make the line that must not be crossed."""
    steps = [Threshold(value=None, color="green")]
    if line is not None:
        steps.append(Threshold(value=line, color="red"))
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def lines(plot: Plot) -> timeseries.Panel:
    """Draw a plot over time."""
    panel = timeseries.Panel().min(0).axis_placement(AxisPlacement.LEFT)
    panel.axis_label(AXES.get(plot.unit, plot.unit.removeprefix("suffix: ")))
    panel.tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    if plot.kind == "stack":
        stacked = common.StackingConfig().mode(StackingMode.NORMAL).group("A")
        panel.fill_opacity(40).stacking(stacked)
    if plot.line is not None:
        style = common.GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.LINE)
        panel.thresholds(limits(plot.line)).thresholds_style(style).axis_soft_max(plot.line)
    return panel


def empty(plot: Plot) -> AnyPanel:
    """Make a panel of the kind of a plot, without title and queries."""
    match plot.kind:
        case "heat":
            return heatmap.Panel().calculate(False).y_axis(heatmap.YAxisConfig().unit(plot.unit))
        case "states":
            options: dict[str, Any] = {
                str(n): ValueMappingResult(text=name, color=COLOURS[name], index=n)
                for n, name in enumerate(m.STATES)
            }
            return statetimeline.Panel().merge_values(True).mappings([ValueMap(options=options)])
        case "bars":
            return bargauge.Panel().min(0).orientation(VizOrientation.HORIZONTAL)
        case "table":
            hidden = dict.fromkeys(("Time", "Value", "__name__", "job"), True)
            tidy = DataTransformerConfig(id_val="organize", options={"excludeByName": hidden})
            return table.Panel().show_header(True).with_transformation(tidy)
        case _:
            return lines(plot)


def panel(plot: Plot, number: int, place: GridPos) -> AnyPanel:
    """Make the panel of a plot."""
    made = empty(plot).title(plot.title).id(number).grid_pos(place)
    made.datasource(SOURCE).unit(plot.unit)
    for letter, (legend, expression) in zip("ABCDEFGH", plot.queries.items(), strict=False):
        query = prometheus.Dataquery().ref_id(letter).expr(expression).legend_format(legend)
        if plot.kind in ("bars", "table"):
            query.instant()
        else:
            query.range()
        if plot.kind == "heat":
            query.format(PromQueryFormat.HEATMAP)
        elif plot.kind == "table":
            query.format(PromQueryFormat.TABLE)
        made.with_target(query)
    return made


def variable(name: str, query: str) -> dashboard.QueryVariable:
    """Make a variable of the values of a label: one, several or all."""
    every = VariableOption(selected=True, text="All", value="$__all")
    made = dashboard.QueryVariable(name).label(name).datasource(SOURCE).query(query)
    made.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).multi(True)
    return made.include_all(True).all_value(".*").current(every)


def make(name: str, rows: Rows) -> str:
    """Give a dashboard as JSON."""
    made = dashboard.Dashboard(f"mlppa: {name}").uid(f"mlppa-{name}").tags(["mlppa"])
    made.time("now-1h", "now").refresh("5s").timezone("utc").editable()
    made.tooltip(DashboardCursorSync.CROSSHAIR)
    # the state has both labels, and is there before any data
    known = series(m.STATE).partition("{")[0]
    made.with_variable(variable("instance", f"label_values({known}, instance)"))
    made.with_variable(
        variable("stream", f'label_values({known}{{instance=~"$instance"}}, stream)')
    )
    number, y = 1, 0
    for title, plots in rows.items():
        made.with_row(dashboard.Row(title).id(number).grid_pos(GridPos(h=1, w=24, x=0, y=y)))
        number, y = number + 1, y + 1
        for i, plot in enumerate(plots):
            place = GridPos(h=HEIGHT, w=WIDTH, x=i % 2 * WIDTH, y=y + i // 2 * HEIGHT)
            made.with_panel(panel(plot, number, place))
            number += 1
        y += -(-len(plots) // 2) * HEIGHT
    written: dict[str, Any] = json.loads(JSONEncoder().encode(made.build()))
    return json.dumps(written, indent=1, sort_keys=True) + "\n"
