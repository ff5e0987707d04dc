"""Fakes for things that tests must not need: a device, the compiled extension, large plans."""
