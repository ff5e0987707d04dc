"""`trtserve tune`: measures settings of an engine on this machine."""
