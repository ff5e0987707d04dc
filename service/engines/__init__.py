"""Engines and names: what there is, how it is loaded, moved and removed."""
