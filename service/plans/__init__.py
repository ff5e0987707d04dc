"""What happens to a plan before an engine is made of it: received, checked, and loaded on trial."""
