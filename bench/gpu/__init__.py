"""Figures of TensorRT on a GPU: every way to an engine beside the bare enqueueV3 loop, in one run."""
