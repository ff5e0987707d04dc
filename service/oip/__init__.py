"""The server as the Open Inference Protocol describes it: dicts with its field names, for JSON and gRPC.

google.protobuf.json_format.ParseDict accepts each for the protocol's message of that answer.
"""
