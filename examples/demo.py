"""Start a service on a free port with its own store, run the LeNet example against it, and stop it.

make demo
"""

import contextlib
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

EXAMPLE = Path(__file__).parent / "lenet_digits" / "main.py"
TRTSERVE = Path(sys.executable).with_name("trtserve")  # of the same environment
STOP_S = 75.0  # more than twice the service's own drain_s, which is what an orderly stop may take


@contextlib.contextmanager
def service(store: Path) -> Iterator[str]:
    """A running service's URL; the service is stopped on the way out, whatever happens."""
    arguments = ["serve", "--port", "0", "--grpc-port", "off", "--store", str(store)]
    arguments += ["--log-level", "warning"]
    print(f"== start the service: trtserve {' '.join(arguments)}", flush=True)
    server = subprocess.Popen([str(TRTSERVE), *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None  # PIPE
        line = server.stdout.readline()  # printed once it listens; empty if it ended
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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `finally` also stops the service
    with tempfile.TemporaryDirectory(prefix="trtserve-demo-") as folder, service(Path(folder)) as url:
        return subprocess.run([sys.executable, str(EXAMPLE), "--server", url], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
