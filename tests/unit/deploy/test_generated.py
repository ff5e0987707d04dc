"""The committed dashboard, metric table, rules and schema are what `make generated` writes."""

from pathlib import Path

import pytest

from deploy.generate import generated
from deploy.monitoring.documented import with_table
from deploy.monitoring.metrics import BY_NAME, METRICS
from deploy.monitoring.panels import ROWS
from deploy.monitoring.queries import gauge, process, quantile, rate


@pytest.mark.parametrize(("path", "text"), [pytest.param(*made, id=made[0].name) for made in generated()])
def test_a_generated_file_is_up_to_date(path: Path, text: str) -> None:
    assert path.read_text() == text, "run make generated"


def test_every_metric_is_in_a_panel() -> None:
    shown = " ".join(query.expr for row in ROWS for panel in row.panels for query in panel.queries)
    assert [metric.name for metric in METRICS if metric.name not in shown] == []
    assert len(BY_NAME) == len(METRICS)


def test_no_two_panels_and_no_two_series_of_a_panel_have_one_name() -> None:
    panels = [panel for row in ROWS for panel in row.panels]
    assert len({panel.title for panel in panels}) == len(panels)
    for panel in panels:
        assert len({query.legend for query in panel.queries}) == len(panel.queries), panel.title


def test_a_query_that_the_table_does_not_know_is_refused() -> None:
    with pytest.raises(KeyError, match="trtserve_nothing"):
        rate("trtserve_nothing_total")
    with pytest.raises(ValueError, match="is a counter"):
        gauge("trtserve_requests_total")
    with pytest.raises(ValueError, match="is a gauge"):
        quantile(0.5, "trtserve_queue_depth")
    with pytest.raises(ValueError, match="outcome"):
        gauge("trtserve_queue_depth", "outcome")
    with pytest.raises(KeyError, match="process_nothing"):
        process("process_nothing", "")


def test_a_page_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="metrics end"):
        with_table("# A page")
