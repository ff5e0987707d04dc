"""The tests: unit tests here need no build."""
