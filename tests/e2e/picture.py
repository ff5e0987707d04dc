"""Draws the dashboard of a server under load, as a real Prometheus saw it: make dashboard.

python -m tests.e2e.picture --seconds 90
"""

import argparse
import tempfile
import time
from pathlib import Path

from deploy.monitoring.picture import draw
from tests.e2e.monitored import load_on, monitored_server
from tests.e2e.prometheus import Prometheus

PICTURE = Path(__file__).parents[2] / "docs" / "dashboard.svg"
WINDOW = "5s"  # ten scrapes
POINTS = 50
Series = list[tuple[dict[str, str], list[tuple[float, float]]]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="make dashboard", description=__doc__)
    parser.add_argument("--seconds", type=float, default=90, help="duration of the load")
    seconds: float = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            monitored_server(folder) as server,
            Prometheus(folder / "prometheus", server.client.base_url.netloc.decode()) as prometheus,
        ):
            start = time.time()
            for share in (0.5, 0.35):
                with load_on(server):
                    time.sleep(seconds * share)
                time.sleep(seconds * 0.15 / 2)
            end = time.time()

            def ask(expr: str) -> Series:
                found = prometheus.query_range(expr, start, end, (end - start) / POINTS)
                return [(labels, [(at - start, value) for at, value in points]) for labels, points in found]

            draw(ask, WINDOW, PICTURE)
    print(f"wrote {PICTURE}")


if __name__ == "__main__":
    main()
