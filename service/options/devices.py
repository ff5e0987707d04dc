"""The devices that the option `device` of an engine names."""

from typing import Final

FIRST_GPU: Final = {"auto": "cuda:0", "all": "cuda:0", "cuda": "cuda:0"}
"""Where the first replica of a TensorRT engine runs, for the words that name no number."""
