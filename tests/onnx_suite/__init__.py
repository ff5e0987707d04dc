"""ONNX's own conformance cases, through trtserve and through OpenVINO alone: `python -m tests.onnx_suite`."""
