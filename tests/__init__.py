"""The tests, by what they need: unit, seam, e2e and gpu."""
