"""The images' health check: ends with 0 if the server in the container answers /health/live.

Live, not ready: a container that is still loading its engines is healthy. The check has no client
certificate, so give a server with mutual TLS a check of its own.
"""

import os
import ssl
import urllib.request

TIMEOUT_S = 2


def main() -> None:
    secure = bool(os.environ.get("TRTSERVE_TLS_CERTIFICATE"))
    url = f"http{'s' if secure else ''}://127.0.0.1:{os.environ['TRTSERVE_PORT']}/health/live"
    # The certificate has the server's name, not that of the loopback address.
    context = ssl._create_unverified_context() if secure else None
    urllib.request.urlopen(url, timeout=TIMEOUT_S, context=context).close()


if __name__ == "__main__":
    main()
