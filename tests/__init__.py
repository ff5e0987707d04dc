"""The tests, grouped by what they need: unit, seam, e2e and gpu."""
