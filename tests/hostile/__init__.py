"""A sweep of hostile values over one-node models of every ONNX operator; run it with `python -m tests.hostile`."""
