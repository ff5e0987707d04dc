"""HTTP over TLS: uvicorn's connections, once their handshake is over."""

from functools import partial
from typing import Any

from trtserve.http.short_way import InferProtocol, ShortWay
from trtserve.settings import Settings
from trtserve.tls.certificates import Certificates
from trtserve.tls.door import Door


class SecureProtocol:
    """Makes the protocols of new connections, in place of InferProtocol. Belongs to the event loop."""

    def __init__(self, certificates: Certificates, settings: Settings) -> None:
        self._certificates = certificates
        self._timeout_s = settings.header_timeout_s
        self._door: Door | None = None

    def __call__(self, **of_uvicorn: Any) -> Any:
        if self._door is None:  # the connections exist once the application has started
            short_way: ShortWay = of_uvicorn["app_state"]["short_way"]
            connections = short_way.connections
            self._door = Door(
                partial(self._certificates.context, "http/1.1"),
                connections.places,
                self._timeout_s,
                connections.refused,
            )
        return self._door.entrance(partial(InferProtocol, **of_uvicorn))

    def close(self) -> None:
        """End the handshakes: the server stops."""
        if self._door is not None:
            self._door.close()
