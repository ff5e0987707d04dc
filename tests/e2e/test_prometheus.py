"""A real Prometheus scrapes a real server under load: no alert and no panel asks for what does not exist."""

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.monitoring.metrics import METRICS
from deploy.monitoring.panels import ROWS
from tests.e2e.monitored import load_on, monitored_server
from tests.e2e.prometheus import Prometheus
from tests.e2e.server import Server
from tests.waiting import wait_until

DOWN = 'ALERTS{alertname="TrtserveDown"}'
BOUND = re.compile(r"(==|>|<)\s+(?=[\d.])")
SELECTED = re.compile(r"\b(?:trtserve_\w+|process_\w+|up)\b(?:\{[^}]*\})?")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Prometheus]]:
    """A server under load, and the Prometheus that scrapes it."""
    folder = tmp_path_factory.mktemp("monitored")
    with (
        monitored_server(folder) as server,
        Prometheus(folder / "prometheus", server.client.base_url.netloc.decode()) as prometheus,
        load_on(server),
    ):
        yield server, prometheus


@pytest.fixture(scope="module")
def prometheus(watched: tuple[Server, Prometheus]) -> Prometheus:
    return watched[1]


def panel_queries() -> dict[str, str]:
    """Each query of the dashboard as Grafana sends it, by its panel and series."""
    found = {}
    for row in ROWS:
        for panel in row.panels:
            for query in panel.queries:
                found[f"{row.title}, {panel.title}: {query.legend}"] = query.filled_in("10s")
    return found


def wait_for_all(queries: dict[str, str], has_data: Callable[[str], bool]) -> None:
    """Return once each query has had data; otherwise name those that never did."""
    missing = dict(queries)

    def none_missing() -> bool:
        for title in [title for title, expr in missing.items() if has_data(expr)]:
            del missing[title]
        return not missing

    try:
        wait_until(none_missing, "data")
    except AssertionError:
        pytest.fail("No data: " + "\n".join(f"{title}: {expr}" for title, expr in missing.items()))


def test_every_panel_shows_numbers(prometheus: Prometheus) -> None:
    wait_for_all(
        panel_queries(), lambda expr: any(math.isfinite(value) for _, value in prometheus.query(expr))
    )


def test_every_metric_of_the_table_has_series(prometheus: Prometheus) -> None:
    ends = {"histogram": "_bucket"}
    names = {metric.name: metric.name + ends.get(metric.kind, "") for metric in METRICS}
    wait_for_all(names, lambda expr: prometheus.query(expr) != [])


def test_every_alert_is_evaluated_without_an_error(prometheus: Prometheus) -> None:
    wait_until(lambda: all(rule["health"] != "unknown" for rule in prometheus.rules()), "evaluations")
    assert {
        rule["name"]: rule.get("lastError", "") for rule in prometheus.rules() if rule["health"] != "ok"
    } == {}


def test_every_alert_compares_something_with_its_bound(prometheus: Prometheus) -> None:
    # With `bool` a comparison is 0 or 1 where it is otherwise empty or there.
    compared = {rule["name"]: BOUND.sub(r"\1 bool ", rule["query"]) for rule in prometheus.rules()}
    assert all(" bool " in expr for expr in compared.values())
    wait_for_all(compared, lambda expr: prometheus.query(expr) != [])


def test_everything_that_an_alert_selects_exists(prometheus: Prometheus) -> None:
    # Also the series of one state, outcome or code, and those of devices, which the fake GPUs have.
    selected = {
        f"{rule['name']}: {selector}": selector
        for rule in prometheus.rules()
        for selector in SELECTED.findall(rule["query"])
    }
    wait_for_all(selected, lambda expr: prometheus.query(expr) != [])


def test_a_server_that_stops_is_down(tmp_path: Path) -> None:
    with Server(tmp_path / "store") as server:
        target = server.client.base_url.netloc.decode()
        with Prometheus(tmp_path / "prometheus", target) as prometheus:
            wait_until(lambda: [value for _, value in prometheus.query("up")] == [1], "a scrape")
            wait_until(lambda: prometheus.query(DOWN) == [], "no alert, whatever one slow scrape did")
            server.stop()
            server.start()  # on another port
            wait_until(lambda: len(prometheus.query(DOWN)) == 1, "the alert")
