"""Tests of a built image, in a container with a read-only root: `make image-test`."""
