"""The seam's fixtures, for tests that need a GPU as well."""

from tests.seam.conftest import harness

__all__ = ["harness"]
