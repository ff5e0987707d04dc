"""The settings of the protocol's logging extension: the level of this process's log, in Triton's words.

The process has one threshold, where Triton has a switch for each level. So a level can be on only where all
above it are, and there is one level of verbose messages.
"""

import logging
from collections.abc import Mapping
from typing import Any

from trtserve.codec.whole import whole
from trtserve.errors import InvalidInput, Unsupported
from trtserve.text import shown

SWITCHES = {"log_info": logging.INFO, "log_warning": logging.WARNING, "log_error": logging.ERROR}
VERBOSE = "log_verbose_level"
FIXED = {"log_file": "", "log_format": "default"}  # the log goes to the console, in the service's own format
SILENT = logging.CRITICAL


def log_settings() -> dict[str, Any]:
    level = logging.getLogger().level
    switches = {switch: level <= its for switch, its in SWITCHES.items()}
    return {"log_file": FIXED["log_file"], **switches, VERBOSE: int(level <= logging.DEBUG)} | FIXED


def update(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Change what is asked for, all of it or nothing; returns the settings as they are then.

    Raises InvalidInput for what is not such a setting or value, and Unsupported for what the log cannot do.
    """
    wanted = log_settings()
    for setting, value in asked.items():
        if setting not in wanted:
            raise InvalidInput(f"There is no log setting {shown(setting)}; there are: {', '.join(wanted)}.")
        wanted[setting] = _checked(setting, value)
    levels = [wanted[VERBOSE] > 0, *(wanted[switch] for switch in SWITCHES)]  # from debug to error
    if sorted(levels) != levels:
        would_be = ", ".join(str(wanted[each]) for each in (VERBOSE, *SWITCHES))
        raise Unsupported(
            "A level can be on only where all above it are: log_verbose_level, log_info, log_warning, "
            f"log_error, in this order, would be {would_be}."
        )
    thresholds = [logging.DEBUG, *SWITCHES.values()]
    on = [threshold for threshold, wants in zip(thresholds, levels, strict=True) if wants]
    logging.getLogger().setLevel(min(on, default=SILENT))
    return log_settings()


def _checked(setting: str, value: object) -> object:
    if setting in FIXED:
        if not isinstance(value, str):
            raise InvalidInput(f"{setting} is {shown(value)}; it is a text.")
        if value != FIXED[setting]:
            raise Unsupported(
                f"{setting} is asked to be {shown(value)}; this server's log can only have "
                f"{FIXED[setting]!r}: it goes to the console, in one format."
            )
    elif setting in SWITCHES:
        if not isinstance(value, bool):
            raise InvalidInput(f"{setting} is {shown(value)}; it is true or false.")
    elif (level := whole(value)) is None or level < 0:
        raise InvalidInput(f"{setting} is {shown(value)}; it is a whole number, 0 or more.")
    return value
