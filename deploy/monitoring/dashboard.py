"""The dashboard for Grafana, made of the rows of panels.py with Grafana's own library."""

from itertools import count

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef, VariableRefresh

from deploy.monitoring.panels import ROWS, Panel

TITLE = "trtserve"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
COLUMNS = 24  # of Grafana's grid
ACROSS = 3  # panels beside each other
HEIGHT = 8


def dashboard_json() -> str:
    board = (
        build.Dashboard(TITLE)
        .uid("trtserve")
        .tags(["trtserve"])
        .editable()
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(build.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(_variable("instance", "label_values(trtserve_engines, instance)"))
        .with_variable(
            _variable("engine", 'label_values(trtserve_requests_total{instance=~"$instance"}, engine)')
        )
    )
    ids = count(1)
    for row in ROWS:
        board = board.with_row(build.Row(row.title).id(next(ids)))
        for panel in row.panels:
            board = board.with_panel(_panel(panel).id(next(ids)))
    return JSONEncoder(sort_keys=True, indent=1).encode(board.build()) + "\n"


def _variable(name: str, query: str) -> build.QueryVariable:
    """One or more values of a label; All also stands for an empty one, as an engine without a name has it."""
    return (
        build.QueryVariable(name)
        .label(name.capitalize())
        .datasource(SOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def _panel(panel: Panel) -> timeseries.Panel:
    made = (
        timeseries.Panel()
        .title(panel.title)
        .datasource(SOURCE)
        .unit(panel.unit)
        .min(0)
        .span(COLUMNS // ACROSS)
        .height(HEIGHT)
    )
    for letter, query in zip("ABCDEFGH", panel.queries, strict=False):
        target = prometheus.Dataquery().ref_id(letter).expr(query.expr).legend_format(query.legend)
        made = made.with_target(target)
    return made
