"""Writes every generated file of deploy/ and docs/: make generated."""

from collections.abc import Iterator
from pathlib import Path

from deploy.monitoring.dashboard import dashboard_json
from deploy.monitoring.documented import with_table

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/operations.md"


def generated() -> Iterator[tuple[Path, str]]:
    """Each file that is generated, with the text that it should have."""
    yield ROOT / "deploy/grafana/dashboard.json", dashboard_json()
    yield PAGE, with_table(PAGE.read_text())


def main() -> None:
    for path, text in generated():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
