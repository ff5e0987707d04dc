"""The devices that the option `device` of an engine names."""

from collections.abc import Collection, Sequence
from typing import Final

FIRST_GPU: Final = {"auto": "cuda:0", "all": "cuda:0", "cuda": "cuda:0"}
"""Where the first replica of a TensorRT engine runs, for the words that name no number."""


def left_out(option: str, devices: Sequence[str], dead: Collection[str]) -> list[str]:
    """The devices that the option names and that a load left out, because they were dead.

    `devices` are those that the engine is loaded on.
    """
    if "cpu" in devices or not (option == "all" or "," in option):
        return []
    return sorted(
        device
        for device in dead
        if device not in devices and (option == "all" or device in option.split(","))
    )
