"""trtserve in a Ray cluster: replicas that serve the plans of one folder. It needs the extra `ray`."""
