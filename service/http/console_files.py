"""The console's files, which `make console` builds from console/, held in memory with their headers.

Only these names are served, whatever a path says, so no request reaches the disk.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).with_name("console")
PAGE = "index.html"
ASSETS = "assets"
GZIP = ".gz"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
IMMUTABLE = "public, max-age=31536000, immutable"  # their names have a hash of their content
CHECKED = "no-cache"  # kept, but asked for again with its ETag

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",  # data: for the arrows and ticks in the style sheet
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",  # what a server says never becomes HTML
        "trusted-types 'none'",
    ]
)
GUARDED = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class ConsoleFile(NamedTuple):
    content: bytes
    headers: dict[str, str]
    compressed: "ConsoleFile | None" = None  # the same with gzip, if the build of the console made that

    @property
    def etag(self) -> str:
        return self.headers["ETag"]


@cache
def console_files() -> dict[str, ConsoleFile]:
    """All files, by their path below `/`; the page is `index.html`."""
    paths = [FOLDER / PAGE, *sorted((FOLDER / ASSETS).iterdir())]
    return {str(path.relative_to(FOLDER)): _read(path) for path in paths if path.suffix != GZIP}


def _read(path: Path) -> ConsoleFile:
    content = path.read_bytes()
    tag = hashlib.sha256(content).hexdigest()[:32]
    headers = {
        "Content-Type": MEDIA_TYPES[path.suffix],
        "ETag": f'"{tag}"',
        "Cache-Control": CHECKED if path.name == PAGE else IMMUTABLE,
        "Vary": "Accept-Encoding",
    } | GUARDED
    short = path.with_name(path.name + GZIP)
    if not short.exists():
        return ConsoleFile(content, headers)
    coded = {"ETag": f'"{tag}-gzip"', "Content-Encoding": "gzip"}
    return ConsoleFile(content, headers, ConsoleFile(short.read_bytes(), headers | coded))
