"""Every view is readable, in light and dark, and on a narrow screen."""

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.console.accessibility import faults
from tests.e2e.console.uploads import upload
from tests.e2e.server import Server

VIEWS = ("", "upload", "log", "engines/{}", "engines/{}/try", "engines/{}/charts", "engines/{}/manage")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_any_view(page: Page, server: Server, plan: bytes, axe: str, theme: str) -> None:
    id = upload(server, plan, "doubling")
    page.goto("/")
    button = page.get_by_role("button", name="Theme")
    while theme not in button.inner_text():
        button.click()
    for view in VIEWS:
        page.goto(f"/#/{view.format(id)}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        assert faults(page, axe) == [], view


def test_a_narrow_screen_scrolls_its_tables_and_not_the_page(page: Page, server: Server, plan: bytes) -> None:
    id = upload(server, plan, "doubling")
    page.set_viewport_size({"width": 360, "height": 700})
    for view in VIEWS:
        page.goto(f"/#/{view.format(id)}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, view
