"""Chaos: servers that are killed, stopped, starved and reconfigured under checked load."""
