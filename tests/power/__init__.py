"""Power loss: what a disk may hold after it, at any point of a recorded workload."""
