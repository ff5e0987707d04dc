"""Plans and their metadata on disk, crash-safe."""
