"""gRPC without grpc.aio: HTTP/2 in C++, and inference straight from the connection to the queue."""
