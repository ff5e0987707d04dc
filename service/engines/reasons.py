"""Why engines could not be loaded, for people."""

import logging

from runtime_ext import Error
from trtserve.engines.engine import Engine
from trtserve.errors import TrtserveError

logger = logging.getLogger(__name__)


def reason_of(engine: Engine, failure: BaseException, level: int = logging.ERROR) -> str:
    """Why an engine could not be loaded: a sentence, which the log has too, at `level` if it was foreseen."""
    told = isinstance(failure, (TrtserveError, Error))
    reason = str(failure) if told else f"An unexpected {type(failure).__name__}; see the log."
    logger.log(
        level if told else logging.ERROR, "engine %s: %s", engine, reason, exc_info=None if told else failure
    )
    return reason
