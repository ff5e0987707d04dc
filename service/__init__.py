"""trtserve: HTTP in, HTTP out, around the engine manager in runtime_ext."""
