"""The Open Inference Protocol over gRPC: a port of its own, with the engines that HTTP serves."""
