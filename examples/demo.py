"""Start a service on a free port with its own store, run the examples against it, and stop it.

make demo runs this file.
"""

import contextlib
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent
EXAMPLES = (
    "lenet_digits/main.py",
    "pipelines/classifier.py",
    "pipelines/ensemble.py",
    "pipelines/detector.py",
)
TRTSERVE = Path(sys.executable).with_name("trtserve")  # from the same environment
STOP_S = 75.0  # an orderly stop may take twice the service's drain_s; this is longer


@contextlib.contextmanager
def service(store: Path) -> Iterator[str]:
    """Yield the URL of a running service; stop the service on exit, even after an error."""
    arguments = ["serve", "--port", "0", "--grpc-port", "off", "--store", str(store)]
    arguments += ["--log-level", "warning"]
    print(f"== start the service: trtserve {' '.join(arguments)}", flush=True)
    server = subprocess.Popen([str(TRTSERVE), *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None  # because of PIPE
        line = server.stdout.readline()  # it prints this line once it listens; empty if it ended
        url = re.search(r"http://[^ ]+", line)
        if url is None:
            sys.exit("error: the service did not start.")
        print(f"   {line.rstrip()}", flush=True)
        yield url.group()
    finally:
        print("\n== stop the service", flush=True)
        server.terminate()
        try:
            server.wait(STOP_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `finally` stops the service here too
    with tempfile.TemporaryDirectory(prefix="trtserve-demo-") as folder, service(Path(folder)) as url:
        for example in EXAMPLES:
            print(f"\n== {example}", flush=True)
            ended = subprocess.run([sys.executable, str(FOLDER / example), "--server", url], check=False)
            if ended.returncode != 0:
                return ended.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
