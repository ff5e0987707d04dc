"""TLS for a grpc.aio server; the fast path has that of asyncio."""

from typing import Any

import grpc

from trtserve.tls.certificates import Certificates


def credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """Credentials that use what was read last for each new connection."""

    def fetch() -> Any:
        pem = certificates.pem
        return grpc.ssl_server_certificate_configuration([(pem.key, pem.chain)], pem.client_ca)

    return grpc.dynamic_ssl_server_credentials(fetch(), fetch, certificates.of_clients)
