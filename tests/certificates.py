"""Certificates for tests, in files that can be replaced as an administrator replaces them."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

BEGIN, END = datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 2, 1, tzinfo=UTC)


class Files:
    """A server's certificate and key for 127.0.0.1, and the authorities of its clients."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate = folder / "tls.crt"
        self.key = folder / "tls.key"
        self.client_ca = folder / "clients.crt"
        self.authority = trustme.CA()
        self.clients = trustme.CA()
        self.write()

    def write(self) -> None:
        """Write a certificate of `authority`, its key, and `clients`, each file in one step."""
        issued = self.authority.issue_cert("127.0.0.1", "localhost")
        _replace(self.key, issued.private_key_pem.bytes())
        _replace(self.certificate, b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        _replace(self.client_ca, self.clients.cert_pem.bytes())

    @property
    def options(self) -> tuple[str, ...]:
        return ("--tls-certificate", str(self.certificate), "--tls-key", str(self.key))

    @property
    def mutual(self) -> tuple[str, ...]:
        return (*self.options, "--tls-client-ca", str(self.client_ca))

    def trust(
        self,
        clients: trustme.CA | None = None,
        *,
        expired: bool = False,
        version: ssl.TLSVersion | None = None,
    ) -> ssl.SSLContext:
        """A client's context, which trusts `authority` of now; with a certificate of `clients`, if given."""
        context = ssl.create_default_context(cadata=self.authority.cert_pem.bytes().decode())
        if version is not None:
            context.minimum_version = context.maximum_version = version
        if clients is not None:
            client(clients, expired=expired).configure_cert(context)
        return context


def client(clients: trustme.CA, *, expired: bool = False) -> trustme.LeafCert:
    now = datetime.now(UTC)
    begin, end = (BEGIN, END) if expired else (now - timedelta(days=1), now + timedelta(days=1))
    return clients.issue_cert("client@example.com", not_before=begin, not_after=end)


def _replace(file: Path, content: bytes) -> None:
    new = file.with_suffix(".new")
    new.write_bytes(content)
    new.replace(file)
