"""The table of metrics, and what is generated from it."""
