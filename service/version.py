"""The version of trtserve."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("trtserve")
except PackageNotFoundError:  # run from a checkout that was never installed
    VERSION = "unknown"
