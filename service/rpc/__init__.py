"""The same inference over gRPC, beside HTTP: a port of its own, the same engines."""
