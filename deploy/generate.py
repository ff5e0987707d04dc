"""Writes every generated file of deploy/ and docs/: make generated."""

from collections.abc import Iterator
from pathlib import Path

from deploy.chart import values_schema
from deploy.monitoring.dashboard import dashboard_json
from deploy.monitoring.documented import with_table
from deploy.monitoring.rules import prometheus_rule

ROOT = Path(__file__).parents[1]
ALERTS = ROOT / "deploy/alerts.yml"
SCHEMA = ROOT / "deploy/helm/trtserve/values.schema.json"
PAGE = ROOT / "docs/operations.md"


def generated() -> Iterator[tuple[Path, str]]:
    """Each file that is generated, with the text that it should have."""
    yield ROOT / "deploy/grafana/dashboard.json", dashboard_json()
    yield ROOT / "deploy/kustomize/monitoring/prometheusrule.yaml", prometheus_rule(ALERTS)
    yield SCHEMA, values_schema(SCHEMA)
    yield PAGE, with_table(PAGE.read_text())


def main() -> None:
    for path, text in generated():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
