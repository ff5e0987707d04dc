"""What the Open Inference Protocol says of this server: dicts with its field names, for JSON and gRPC alike.

Each is what google.protobuf.json_format.ParseDict takes for the protocol's message of that answer.
"""
