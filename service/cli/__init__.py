"""The command `trtserve`."""
