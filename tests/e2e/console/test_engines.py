"""The list of engines and the view of one, in a browser."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.console.accessibility import faults
from tests.e2e.console.uploads import negative, upload
from tests.e2e.server import Server

HOSTILE = "<img src=x onerror=alert(1)>"


def test_a_new_server_says_that_there_are_no_engines(page: Page) -> None:
    page.goto("/")
    expect(page.get_by_role("heading", name="Engines")).to_be_visible()
    expect(page.get_by_text("There are no engines yet.")).to_be_visible()


def test_engines_are_listed_and_a_new_one_appears_by_itself(page: Page, server: Server, plan: bytes) -> None:
    page.goto("/")
    upload(server, plan, "doubling", max_batch_size="8")
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="doubling"))
    expect(row).to_contain_text("READY")
    expect(row).to_contain_text("doubling v1 (current)")
    expect(row).to_contain_text("up to 8")
    expect(row).to_contain_text("openvino, cpu")


def test_an_engine_shows_its_tensors_batches_replicas_and_memory(
    page: Page, server: Server, plan: bytes
) -> None:
    upload(server, plan, "doubling", max_batch_size="8", preferred_batch_sizes="4")
    page.goto("/")
    page.get_by_role("link", name="doubling").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("doubling")
    inputs = page.get_by_role("region", name="Inputs")
    expect(inputs.get_by_role("row").nth(1)).to_contain_text("FP32[?, 4]")
    expect(page.get_by_role("region", name="Replicas")).to_contain_text("cpu")
    for fact in ("Most items8", "Preferred sizes4", "Residencyeager"):
        expect(page.get_by_role("main")).to_contain_text(fact)


def test_an_engine_that_cannot_be_loaded_says_why(page: Page, tmp_path: Path, plan: bytes) -> None:
    with Server(tmp_path / "store") as own:
        id = upload(own, plan, "doubling")
        own.stop()
        next((own.store / "plans").iterdir()).write_bytes(b"damaged")
        own.start()
        own.client.get("/engines")
        page.goto(str(own.client.base_url))
        row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="doubling"))
        expect(row).to_contain_text("FAILED")
        reason = own.client.get(f"/engines/{id}").json()["reason"]
        expect(row).to_contain_text(reason)


def test_what_a_model_is_named_like_html_is_text(page: Page, server: Server) -> None:
    id = upload(server, negative(HOSTILE, "<b>y</b>"), "hostile")
    page.goto(f"/#/engines/{id}")
    expect(page.get_by_role("rowheader", name=HOSTILE)).to_be_visible()
    expect(page.get_by_role("rowheader", name="<b>y</b>")).to_be_visible()
    assert page.locator("main img, main b").count() == 0


def test_an_unknown_engine_shows_the_servers_sentence_as_text(page: Page) -> None:
    page.goto("/#/engines/%3Cimg%20src%3Dx%3E")
    expect(page.get_by_role("alert")).to_contain_text("<img src=x>")
    assert page.locator("main img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page: Page, server: Server, plan: bytes, axe: str, scheme: str) -> None:
    id = upload(server, plan, "doubling")
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    for place in ("/", f"/#/engines/{id}"):
        page.goto(place)
        expect(page.get_by_role("main")).to_contain_text("doubling")
        assert faults(page, axe) == [], place


def test_all_of_it_is_reached_by_keyboard(page: Page, server: Server, plan: bytes) -> None:
    upload(server, plan, "doubling")
    page.goto("/")
    link = page.get_by_role("link", name="doubling")
    expect(link).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    for _ in range(3):  # the filter, the table that scrolls, the first engine
        page.keyboard.press("Tab")
    expect(link).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("doubling")
    expect(page.get_by_role("main")).to_be_focused()
