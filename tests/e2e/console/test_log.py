"""Errors and the log in a browser."""

from playwright.sync_api import Page, expect

from tests.e2e.console.accessibility import faults
from tests.e2e.console.uploads import negative, upload
from tests.e2e.server import Server


def test_the_last_lines_and_the_counted_errors_are_shown(page: Page, server: Server, axe: str) -> None:
    id = upload(server, negative("<img src=x>", "y"), "logged")
    assert server.client.get("/engines/absent").status_code == 404
    page.goto("/#/log")
    expect(page.get_by_role("region", name="Log")).to_contain_text(str(id))
    errors = page.get_by_role("region", name="Error answers")
    expect(errors.get_by_role("rowheader", name="NotFound")).to_be_visible()
    assert faults(page, axe) == []


def test_a_level_leaves_out_what_is_below_it(page: Page, server: Server, plan: bytes) -> None:
    upload(server, plan, "logged")
    page.goto("/#/log")
    expect(page.get_by_role("cell", name="info").first).to_be_visible()
    page.get_by_label("Lowest level").select_option("error")
    expect(page.get_by_role("cell", name="info")).to_have_count(0)
