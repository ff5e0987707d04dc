"""Uploads in a browser: by choice and by drop, with progress, options and errors."""

import base64

from playwright.sync_api import FilePayload, Page, expect

from tests.e2e.console.accessibility import faults
from tests.e2e.console.uploads import large_model
from tests.e2e.server import Server

DROP = """
([base64, name]) => {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name));
  const zone = document.querySelector(".drop");
  for (const type of ["dragover", "drop"])
    zone.dispatchEvent(new DragEvent(type, {dataTransfer: transfer, bubbles: true, cancelable: true}));
}
"""


def file(name: str, content: bytes) -> FilePayload:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": content}


def choose(page: Page, name: str, content: bytes) -> None:
    page.goto("/#/upload")
    page.get_by_label("Drop a file here").set_input_files(file(name, content))


def test_a_chosen_file_becomes_a_ready_engine(page: Page, server: Server, plan: bytes) -> None:
    choose(page, "my model.onnx", plan)
    expect(page.get_by_label("Name", exact=True)).to_have_value("my_model")
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("main")).to_contain_text("READY my_model")
    assert server.client.get("/engines/my_model").json()["state"] == "READY"
    page.get_by_role("link", name="my_model").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("my_model")


def test_a_dropped_file_is_taken(page: Page, server: Server, plan: bytes) -> None:
    page.goto("/#/upload")
    expect(page.locator(".drop")).to_be_visible()
    page.evaluate(DROP, [base64.b64encode(plan).decode(), "dropped.onnx"])
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("main")).to_contain_text("READY dropped")


def test_options_have_their_defaults_and_are_sent_if_they_are_given(
    page: Page, server: Server, plan: bytes
) -> None:
    choose(page, "net.onnx", plan)
    page.get_by_text("Options", exact=True).click()
    queue, residency = page.get_by_label("max_queue_size"), page.get_by_label("residency")
    expect(queue).to_have_attribute("placeholder", "default: 256")
    expect(residency.locator("option").first).to_have_text("default: eager")
    queue.fill("7")
    residency.select_option("pinned")
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("main")).to_contain_text("READY net")
    engine = server.client.get("/engines/net").json()
    assert (engine["max_queue_size"], engine["residency"], engine["instances"] > 0) == (7, "pinned", True)


def test_progress_counts_bytes_and_a_cancelled_upload_leaves_nothing(page: Page, server: Server) -> None:
    choose(page, "large.onnx", large_model())
    network = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 200_000}
    network.send("Network.emulateNetworkConditions", slow)
    page.get_by_role("button", name="Upload").click()
    sent = page.get_by_role("progressbar", name="Sent")
    expect(sent).to_be_visible()
    expect(sent).not_to_have_attribute("value", "0")
    expect(page.get_by_role("main")).to_contain_text("of 3.8 MiB")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("alert")).to_contain_text("The upload was ended.")
    assert server.client.get("/engines").json()["engines"] == []


def test_a_refused_upload_shows_the_servers_reason(page: Page) -> None:
    choose(page, "notes.txt", b"\x1f\x8b\x08" + b"x" * 100)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("alert")).to_contain_text("The plan is gzip-compressed.")


def test_a_name_like_html_is_refused_and_shown_as_text(page: Page, plan: bytes) -> None:
    choose(page, "net.onnx", plan)
    page.get_by_label("Name", exact=True).fill("<img src=x onerror=alert(1)>")
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("alert")).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator("main img").count() == 0


def test_axe_finds_nothing(page: Page, axe: str) -> None:
    page.goto("/#/upload")
    page.get_by_text("Options", exact=True).click()
    expect(page.get_by_label("residency")).to_be_visible()
    assert faults(page, axe) == []
