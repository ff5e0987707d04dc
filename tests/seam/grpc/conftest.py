"""These tests need the fast path of gRPC, which a build without nghttp2 leaves out."""

from runtime_ext import GRPC_SESSION

collect_ignore_glob = [] if GRPC_SESSION else ["*"]
