"""What an engine is asked to be: its options, its batches and its name."""
