"""Figures of TensorRT on a GPU: every way to an engine beside the bare enqueueV3 loop, in one run."""


class WayFailed(Exception):
    """A way to the engine gave no answer, or a wrong one. It is left out, and the others are measured."""
