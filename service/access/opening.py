"""Whether clients must show who they are, and that no server is open to others unless it was told so."""

from trtserve.addresses import on_loopback
from trtserve.errors import InvalidInput
from trtserve.settings import Settings


def demands_tokens(settings: Settings) -> bool:
    return settings.auth != "off" and settings.token_file is not None


def check_opening(settings: Settings) -> None:
    """Raise InvalidInput if anyone could use the server, and nobody said that anyone may."""
    if settings.auth == "off" or demands_tokens(settings) or settings.tls_client_ca is not None:
        return
    if settings.auth == "required":
        raise InvalidInput(
            "--auth (TRTSERVE_AUTH) is required, and there is nothing to know clients by: make a token with "
            "trtserve tokens add, and start the server with its --token-file (TRTSERVE_TOKEN_FILE), or with "
            "a --tls-client-ca (TRTSERVE_TLS_CLIENT_CA)."
        )
    if not on_loopback(settings.host):
        raise InvalidInput(
            f"On {settings.host} others can reach this server, and anyone could upload, remove and run "
            "models. Make a token with trtserve tokens add, and start the server with its --token-file "
            "(TRTSERVE_TOKEN_FILE); or listen on 127.0.0.1; or, if something else keeps strangers away, say "
            "so with --auth off (TRTSERVE_AUTH=off)."
        )
