"""Takes the pictures of docs/console.md, of a server with a few engines: make screenshots.

python -m tests.e2e.console.screenshots
"""

import shutil
import tempfile
import threading
import time
from pathlib import Path

import httpx
import numpy as np
from playwright.sync_api import Page, expect, sync_playwright

from tests.e2e.console.test_try import png
from tests.e2e.console.uploads import large_model, negative, upload
from tests.e2e.server import Server
from tests.seam.models import doubling

PICTURES = Path(__file__).parents[3] / "docs/console"
LOADED_S = 40.0
CLIENTS = 6
SIZE = {"width": 1100, "height": 720}


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name, Server(Path(name) / "store") as server:
        plan = doubling(Path(name) / "m.onnx").read_bytes()
        first = upload(server, plan, "ranking", max_batch_size="8")
        upload(server, negative(shape=("batch", 16)), "ranking")
        upload(server, large_model(100_000), "embedding", residency="pinned")
        picture = upload(server, negative(shape=(1, 3, 64, 64)), "segmenter")
        server.client.post("/v2/repository/models/embedding/unload", json={}).raise_for_status()
        path = shutil.which("chromium")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            page = browser.new_page(base_url=str(server.client.base_url), viewport=SIZE)  # type: ignore[arg-type]
            _engines(page)
            _upload(page, plan)
            _try(page, picture)
            _manage(page, first)
            page.emulate_media(color_scheme="dark")
            _charts(page, server, first)
            browser.close()
    print(f"wrote {PICTURES}")


def _shoot(page: Page, name: str) -> None:
    page.screenshot(path=PICTURES / f"{name}.png")


def _engines(page: Page) -> None:
    page.goto("/")
    expect(page.get_by_role("link", name="segmenter")).to_be_visible()
    _shoot(page, "engines")


def _upload(page: Page, plan: bytes) -> None:
    page.goto("/#/upload")
    model = {"name": "ranking.onnx", "mimeType": "application/octet-stream", "buffer": plan}
    page.get_by_label("Drop a file here").set_input_files(model)  # type: ignore[arg-type]
    page.get_by_text("Options", exact=True).click()
    expect(page.get_by_label("max_queue_size")).to_be_visible()
    _shoot(page, "upload")


def _try(page: Page, id: int) -> None:
    page.goto(f"/#/engines/{id}/try")
    page.get_by_label("Values").select_option("image")
    page.get_by_label("File", exact=True).set_input_files(png((230, 120, 40)))
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text("answered in")).to_be_visible()
    page.get_by_label("Show y as").select_option("picture")
    expect(page.get_by_role("img", name="y as a picture")).to_be_visible()
    _shoot(page, "try")


def _manage(page: Page, id: int) -> None:
    page.goto(f"/#/engines/{id}/manage")
    expect(page.get_by_role("button", name="Make version 1 current")).to_be_visible()
    _shoot(page, "versions")


def _charts(page: Page, server: Server, id: int) -> None:
    page.goto(f"/#/engines/{id}/charts")
    url = f"{server.client.base_url}/engines/{id}/infer"
    end = time.monotonic() + LOADED_S
    clients = [threading.Thread(target=_ask, args=(url, end, client)) for client in range(CLIENTS)]
    for client in clients:
        client.start()
    page.wait_for_timeout(LOADED_S * 1000)
    for client in clients:
        client.join()
    _shoot(page, "charts")


def _ask(url: str, end: float, client: int) -> None:
    """Ask until the end, with pauses that differ, so that the lines have a form."""
    random = np.random.default_rng(client)
    body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
    with httpx.Client() as http:
        while time.monotonic() < end:
            http.post(url, json=body).raise_for_status()
            time.sleep(random.uniform(0, 0.02) * (1 + np.sin(time.monotonic() / 3)))


if __name__ == "__main__":
    main()
