"""trtserve: a server for serialized TensorRT engines, around the engine manager in runtime_ext."""
