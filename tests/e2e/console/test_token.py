"""The console of a server that wants tokens."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.console.accessibility import faults
from tests.e2e.server import Server
from tests.tokens import Tokens


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return Tokens(tmp_path_factory.mktemp("tokens") / "tokens.json")


@pytest.fixture(scope="module")
def secret(tokens: Tokens) -> str:
    return tokens.add("infer", "manage", "metrics").removeprefix("Bearer ")


@pytest.fixture(scope="module")
def other(tokens: Tokens) -> str:
    return tokens.add("metrics", name="scraper").removeprefix("Bearer ")


@pytest.fixture(scope="module")
def guarded(
    tokens: Tokens, secret: str, other: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    store = tmp_path_factory.mktemp("guarded") / "store"
    with Server(store, "--token-file", str(tokens.file)) as server:
        yield server


def enter(page: Page, token: str) -> None:
    page.get_by_label("This server wants a token").fill(token)
    page.get_by_role("button", name="Use").click()


def test_the_console_asks_for_a_token_and_works_with_it(
    page: Page, guarded: Server, secret: str, axe: str
) -> None:
    page.goto(str(guarded.client.base_url))
    expect(page.get_by_role("dialog", name="Token")).to_be_visible()
    assert faults(page, axe) == []
    enter(page, secret)
    expect(page.get_by_text("There are no engines yet.")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_token_stays_in_its_tab_alone(page: Page, guarded: Server, secret: str) -> None:
    page.goto(str(guarded.client.base_url))
    enter(page, secret)
    expect(page.get_by_text("There are no engines yet.")).to_be_visible()
    assert secret in page.evaluate("Object.values(sessionStorage)")
    assert secret not in page.evaluate("Object.values(localStorage).join()")
    assert page.context.cookies() == []
    other_tab = page.context.new_page()
    other_tab.goto(str(guarded.client.base_url))
    expect(other_tab.get_by_role("dialog", name="Token")).to_be_visible()


def test_a_wrong_token_is_refused_in_words_and_asked_for_again(page: Page, guarded: Server) -> None:
    page.goto(str(guarded.client.base_url))
    enter(page, "mistyped")
    expect(page.get_by_role("dialog", name="Token")).to_be_visible()
    expect(page.get_by_text("does not know the request's token").first).to_be_visible()


def test_a_token_without_the_scope_is_told_what_it_lacks(page: Page, guarded: Server, other: str) -> None:
    page.goto(str(guarded.client.base_url))
    enter(page, other)
    expect(page.get_by_role("alert")).to_contain_text("needs a token with the scope infer or manage")


def test_a_forgotten_token_is_gone(page: Page, guarded: Server, secret: str) -> None:
    page.goto(str(guarded.client.base_url))
    enter(page, secret)
    expect(page.get_by_text("There are no engines yet.")).to_be_visible()
    page.get_by_role("button", name="Token").click()
    page.get_by_role("button", name="Forget").click()
    expect(page.get_by_role("dialog", name="Token")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


def test_no_other_page_may_frame_the_console(browser: Browser, guarded: Server) -> None:
    """The browser shows its own error page in place of the console."""
    page = browser.new_page()
    page.set_content(f'<iframe src="{guarded.client.base_url}"></iframe>')
    page.wait_for_load_state("networkidle")
    frame = page.frames[1]
    assert frame.locator("#console").count() == 0
    page.close()
