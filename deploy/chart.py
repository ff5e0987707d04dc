"""The settings that the Helm chart's values may name."""

import json
from pathlib import Path

from trtserve.settings import Settings

SET_BY_THE_CHART = {
    "host",
    "port",
    "grpc_port",
    "store",
    "token_file",
    "tls_certificate",
    "tls_key",
    "tls_client_ca",
}


def values_schema(path: Path) -> str:
    """The chart's schema with the names of the present settings, so that a misspelt one is refused."""
    schema = json.loads(path.read_text())
    names = [name for name in Settings.model_fields if name not in SET_BY_THE_CHART]
    schema["properties"]["settings"]["propertyNames"]["enum"] = names
    return json.dumps(schema, indent=2) + "\n"
