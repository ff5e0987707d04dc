"""The releases of TensorRT: which ones a server can be built for, and where people get one.

Sources: the plugin compiles against the headers of FIRST_HEADERS and later (docs/verification.md). The pip
packages are those of PyPI in November 2026: `tensorrt` has 8.5.1 to 8.6.0 as wheels for Python 3.10 and
before, 8.6.1, and 10.0.1 to 11.4.0; `tensorrt-cu12` begins with 10.0.1. JetPack 5.1 and 5.1.1 have 8.5.2
(developer.nvidia.com/embedded/jetpack-sdk-51 and -511).
"""

from trtserve.formats.tensorrt_head import PlanVersion

KNOWN_MAJORS = range(8, 12)
FIRST_HEADERS = {8: (8, 5), 10: (10, 16), 11: (11, 1)}
"""The oldest headers that a server is built with, of each major version. TensorRT 9 has none."""

COMPATIBLE_SINCE = (8, 6)  # plans of this release and later may be built for later ones to read
COMPATIBLE = (
    "build it version-compatible (trtexec --versionCompatible) and start the server with --allow-host-code"
)


def shown_release(version: PlanVersion) -> str:
    """The version without the build: what headers, libraries and packages of a release have in common."""
    return ".".join(map(str, version[:3]))


def can_be_built_for(version: PlanVersion) -> bool:
    """True if a server can be built with the headers of this release."""
    return version[0] in FIRST_HEADERS and version[:2] >= FIRST_HEADERS[version[0]]


def where_to_get(version: PlanVersion) -> str:
    """A sentence that names the packages of a release; empty if none are known."""
    release = shown_release(version)
    match version[:3]:
        case (8, 5, 2):
            return f"TensorRT {release} is in JetPack 5.1 and in pip's tensorrt=={release}.* for Python 3.10."
        case (8, 5, 1 | 3) | (8, 6, 0):
            return f"TensorRT {release} is in pip's tensorrt=={release}.* for Python 3.10."
        case (8, 6, 1):
            return f"TensorRT {release} is pip's tensorrt=={release}."
        case (10 | 11, _, _):
            return f"TensorRT {release} is pip's tensorrt=={release}.* (tensorrt-cu12 for CUDA 12)."
    return ""
