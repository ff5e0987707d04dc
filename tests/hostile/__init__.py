"""A sweep of hostile values over one-node models of every ONNX operator: `make hostile`."""
