"""Recognises the format of a plan by its first bytes."""
