"""The alerts as an object of the Prometheus Operator."""

from pathlib import Path

HEAD = """\
# Written by `make generated` from deploy/alerts.yml.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: trtserve
  labels: {app.kubernetes.io/name: trtserve}
spec:
"""


def prometheus_rule(alerts: Path) -> str:
    """The rules as they are in the file, comments included, one level deeper."""
    text = alerts.read_text()
    groups = text[text.index("groups:") :]
    return HEAD + "".join(f"  {line}" if line.strip() else line for line in groups.splitlines(keepends=True))
