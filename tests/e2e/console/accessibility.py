"""Checks what a page shows with axe-core."""

from playwright.sync_api import Page


def faults(page: Page, axe: str) -> list[str]:
    """What axe-core finds, as `rule: element`; empty for a page that everybody can use."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{rule['id']}: {node['html']} ({node['failureSummary']})"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
