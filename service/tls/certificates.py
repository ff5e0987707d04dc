"""The server's certificate, its key, and the authorities of its clients, read again when they change.

Each read makes new contexts: what a context trusts can be added to, but not taken away. A connection keeps
the context that it began with, and no session of an older one is resumed.
"""

import logging
import ssl
from pathlib import Path
from typing import NamedTuple

from trtserve.errors import InvalidInput
from trtserve.settings import Settings
from trtserve.watched_files import WatchedFiles

logger = logging.getLogger(__name__)

PROTOCOLS = ("http/1.1", "h2")  # as TLS names them: one for each port


class Pem(NamedTuple):
    """The files as they were read; for libraries with contexts of their own."""

    key: bytes
    chain: bytes
    client_ca: bytes | None


class _Read(NamedTuple):
    contexts: dict[str, ssl.SSLContext]  # by protocol
    pem: Pem


class Certificates:
    """reread() may be called in any thread, one at a time; what was read is replaced in one step."""

    def __init__(self, certificate: Path, key: Path | None = None, client_ca: Path | None = None) -> None:
        """`key`: None if it is in the same file. Raises InvalidInput for files that cannot be used."""
        self._certificate = certificate
        self._key = key or certificate
        self._client_ca = client_ca
        self.of_clients = client_ca is not None
        self._watched = WatchedFiles([file for file in (certificate, key, client_ca) if file is not None])
        self._watched.changed()
        self._read = self._read_all()

    @classmethod
    def of(cls, settings: Settings) -> "Certificates | None":
        """Those of the settings; None: no TLS."""
        if settings.tls_certificate is None:
            return None
        return cls(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)

    @property
    def pem(self) -> Pem:
        return self._read.pem

    def context(self, protocol: str) -> ssl.SSLContext:
        """The context for a new connection that speaks this one of PROTOCOLS."""
        return self._read.contexts[protocol]

    def reread(self) -> None:
        """Read the files again if one has changed; what cannot be used changes nothing. Blocks."""
        if not self._watched.changed():
            return
        try:
            self._read = self._read_all()
        except InvalidInput as failure:
            logger.warning("new connections get the certificate that was read last: %s", failure)
        else:
            logger.info("read the certificate %s again", self._certificate)

    def _read_all(self) -> _Read:
        try:
            pem = Pem(
                self._key.read_bytes(),
                self._certificate.read_bytes(),
                None if self._client_ca is None else self._client_ca.read_bytes(),
            )
        except OSError as failure:
            raise InvalidInput(f"{failure.filename} cannot be read for TLS: {failure.strerror}.") from None
        return _Read({protocol: self._context(protocol) for protocol in PROTOCOLS}, pem)

    def _context(self, protocol: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION  # by which a client costs a server handshakes
        context.set_alpn_protocols([protocol])
        try:
            context.load_cert_chain(self._certificate, self._key, password=_no_passphrase)
        except (OSError, ValueError) as failure:  # SSLError is an OSError
            raise InvalidInput(
                f"{self._certificate} and {self._key} are not a certificate and its key in PEM: "
                f"{_reason(failure)}."
            ) from None
        if self._client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            try:
                context.load_verify_locations(self._client_ca)
            except OSError as failure:
                raise InvalidInput(
                    f"{self._client_ca} has no certificates of authorities in PEM: {_reason(failure)}."
                ) from None
        return context


def _no_passphrase() -> str:
    """Instead of a prompt at the terminal of the server."""
    raise ValueError("the key has a passphrase, and this server takes none")


def _reason(failure: Exception) -> str:
    reason = getattr(failure, "reason", None) or str(failure) or "it cannot be read"
    return str(reason).replace("_", " ").lower()
