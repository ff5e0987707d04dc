"""TLS: the certificates, which may change as the server runs, and connections until their handshake ends."""
