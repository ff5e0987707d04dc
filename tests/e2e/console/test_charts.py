"""Live charts in a browser, whose clock the tests turn."""

import re

import numpy as np
from playwright.sync_api import Page, expect

from tests.e2e.console.accessibility import faults
from tests.e2e.console.uploads import upload
from tests.e2e.server import Server

STEP_MS = 100
PERIOD_S = 2  # of charts.tsx
METRICS = "**/metrics?*"


def open_charts(page: Page, id: int) -> None:
    """Show the charts and wait for their first look; time passes only in looks."""
    page.clock.install(time=0)
    page.clock.pause_at(1)
    with page.expect_response(METRICS) as seen:
        page.goto(f"/#/engines/{id}/charts")
        while not seen.is_done():
            page.clock.run_for(STEP_MS)


def next_look(page: Page, points: int) -> None:
    """Let time pass until the charts look again, which gives them as many points. None passes while they wait
    for what they asked for."""
    with page.expect_response(METRICS), page.expect_request(METRICS) as asked:
        while not asked.is_done():
            page.clock.run_for(STEP_MS)
    expect(page.get_by_role("img", name="Chart: Queue")).to_have_attribute("data-points", str(points))
    page.clock.run_for(STEP_MS)  # in which it is drawn


def requests(server: Server, id: int, count: int) -> None:
    data = np.zeros((1, 4), np.float32).ravel().tolist()
    body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": data}]}
    for _ in range(count):
        server.client.post(f"/engines/{id}/infer", json=body).raise_for_status()


def now_s(page: Page) -> float:
    return float(page.evaluate("Date.now()")) / 1000


def rate(page: Page) -> float:
    """The requests per second that the chart of the throughput shows."""
    text = page.get_by_role("figure", name="Throughput").text_content() or ""
    found = re.search(r"requests([\d.]+)/s", text)
    assert found, text
    return float(found[1])


def drawn(page: Page, chart: str) -> str:
    return str(page.get_by_role("img", name=chart).locator("canvas").evaluate("c => c.toDataURL()"))


def test_the_charts_move_with_the_requests(page: Page, server: Server, plan: bytes, axe: str) -> None:
    id = upload(server, plan, "doubling", max_batch_size="8")
    open_charts(page, id)
    figure = page.get_by_role("figure", name="Throughput")
    expect(figure).to_contain_text("requests—")
    requests(server, id, 20)
    before = now_s(page)
    next_look(page, 1)
    # The looks are at least PERIOD_S apart, and at most what has passed in these steps.
    assert 20 / (now_s(page) - before + PERIOD_S) <= rate(page) <= 20 / PERIOD_S
    expect(page.get_by_role("figure", name="Batch size")).to_contain_text("items of an execution1.0")
    expect(page.get_by_role("figure", name="Latency in the server")).to_contain_text("s")
    drawn_before = drawn(page, "Chart: Throughput")
    requests(server, id, 20)
    next_look(page, 2)
    assert drawn(page, "Chart: Throughput") != drawn_before
    page.clock.resume()  # axe-core waits for timers
    assert faults(page, axe) == []


def test_without_requests_there_is_no_latency_to_show(page: Page, server: Server, plan: bytes) -> None:
    id = upload(server, plan, "doubling")
    open_charts(page, id)
    next_look(page, 1)
    expect(page.get_by_role("figure", name="Throughput")).to_contain_text("requests0.0/s")
    expect(page.get_by_role("figure", name="Latency in the server")).to_contain_text("p50—")
    expect(page.get_by_role("figure", name="Queue")).to_contain_text("waiting requests0")


def test_the_charts_ask_for_nothing_but_the_metrics(page: Page, server: Server, plan: bytes) -> None:
    """The view around them looks at the engine."""
    id = upload(server, plan, "doubling")
    asked: set[str] = set()
    open_charts(page, id)
    page.on("request", lambda request: asked.add(request.url.removeprefix(str(server.client.base_url))))
    next_look(page, 1)
    assert {path.removeprefix("/").partition("?")[0] for path in asked} <= {"metrics", f"engines/{id}"}
