"""Stand-ins for what a test must not need: a device, a compiled extension, a large plan."""
