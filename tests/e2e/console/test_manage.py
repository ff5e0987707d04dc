"""Versions, loads and removals in a browser."""

from playwright.sync_api import Page, expect

from tests.e2e.console.accessibility import faults
from tests.e2e.console.uploads import negative, upload
from tests.e2e.server import Server


def manage(page: Page, id: int) -> None:
    page.goto(f"/#/engines/{id}/manage")


def test_a_rollback_makes_an_older_version_current(page: Page, server: Server, plan: bytes, axe: str) -> None:
    first, second = upload(server, plan, "net"), upload(server, negative(), "net")
    manage(page, second)
    versions = page.get_by_role("region", name="Versions of net")
    expect(versions.get_by_role("row").nth(2)).to_contain_text("current")
    assert faults(page, axe) == []
    page.get_by_role("button", name="Make version 1 current").click()
    expect(page.get_by_text("Version 1 of net is current.")).to_be_visible()
    expect(page.get_by_role("button", name="Make version 2 current")).to_be_visible()
    assert server.client.get("/engines/net").json()["id"] == first


def test_an_engine_is_unloaded_and_loaded(page: Page, server: Server, plan: bytes) -> None:
    id = upload(server, plan, "net")
    manage(page, id)
    page.get_by_role("button", name="Unload").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("UNLOADED")
    page.get_by_role("button", name="Load", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("READY")


def test_an_engine_is_given_other_options(page: Page, server: Server, plan: bytes) -> None:
    id = upload(server, plan, "net", max_queue_size="9", instances="1")
    manage(page, id)
    page.get_by_text("Change options").click()
    queue = page.get_by_label("max_queue_size")
    expect(queue).to_have_attribute("placeholder", "default: 9")
    page.get_by_label("instances").fill("2")
    page.get_by_role("button", name="Run with these options").click()
    expect(page.get_by_text("It runs with these options.")).to_be_visible()
    engine = server.client.get(f"/engines/{id}").json()
    assert (engine["instances"], engine["max_queue_size"]) == (2, 9)


def test_options_that_cannot_be_are_refused_with_the_servers_reason(
    page: Page, server: Server, plan: bytes
) -> None:
    manage(page, upload(server, plan, "net"))
    page.get_by_text("Change options").click()
    page.get_by_label("instances").fill("many")
    page.get_by_role("button", name="Run with these options").click()
    expect(page.get_by_role("alert")).to_contain_text("is 'many'")


def test_an_engine_without_a_name_is_called_by_its_id(page: Page, server: Server, plan: bytes) -> None:
    id = int(server.client.post("/engines", content=plan).json()["id"])
    manage(page, id)
    page.get_by_role("button", name="Unload").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("UNLOADED")


def test_a_removal_asks_first(page: Page, server: Server, plan: bytes) -> None:
    id = upload(server, plan, "net")
    manage(page, id)
    page.get_by_role("button", name="Remove the engine").click()
    page.get_by_role("button", name="Keep it").click()
    assert server.client.get(f"/engines/{id}").status_code == 200
    page.get_by_role("button", name="Remove the engine").click()
    page.get_by_role("button", name="Remove it").click()
    expect(page.get_by_text("There are no engines yet.")).to_be_visible()
    assert server.client.get(f"/engines/{id}").status_code == 404
