"""The connections of gRPC, as bytes that go in and out."""
