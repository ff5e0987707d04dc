"""A real browser on the console of a real server."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from console.build import MODULES, install
from tests.e2e.server import Server

VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`);
});
"""
REFUSED = "Failed to load resource"  # the browser's own line for an answer with an error

PATIENCE_MS = 30_000  # only to end a test that would never end


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's chromium. Playwright's event loop runs until its end, and no other in this thread meanwhile:
    so it ends with this package."""
    path = shutil.which("chromium")
    assert path, "these tests need chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        # CI is root, for whom chromium's sandbox does not start.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser, server: Server) -> Iterator[BrowserContext]:
    context = browser.new_context(
        base_url=str(server.client.base_url), viewport={"width": 1200, "height": 900}
    )
    context.add_init_script(VIOLATIONS)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A tab. In the end nothing in it has broken the page's policy, or failed unseen."""
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "console",
        lambda line: (
            problems.append(line.text)
            if line.type in ("error", "warning") and not line.text.startswith(REFUSED)
            else None
        ),
    )
    yield page
    assert page.evaluate("window.violations") == []
    assert problems == []


@pytest.fixture(scope="package")
def axe() -> str:
    """The source of axe-core, which checks a page for what keeps people with disabilities from using it."""
    install()
    return Path(MODULES / "axe-core/axe.min.js").read_text()
