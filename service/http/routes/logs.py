"""The last lines of the log, for a person who may not reach the server's stderr."""

import logging
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from trtserve.recent_log import KEPT
from trtserve.services import services_for

router = APIRouter(tags=["server"])

LISTED = 100


class LogLineModel(BaseModel):
    time: datetime = Field(description="ISO 8601, UTC.")
    level: str = Field(examples=["warning"])
    logger: str = Field(description="The part of the server.", examples=["trtserve.engines.lifecycle"])
    message: str
    exception: str | None = Field(description="The end of the traceback, if there is one.")


class LogModel(BaseModel):
    lines: list[LogLineModel] = Field(description="The newest last.")


@router.get("/logs")
async def logs(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=KEPT, description="The most lines.")] = LISTED,
    level: Annotated[
        Literal["debug", "info", "warning", "error"], Query(description="The lowest level to list.")
    ] = "debug",
) -> LogModel:
    """The last lines of the log since the start, at most 1000, as far as `log_level` lets them be written."""
    severity: int = getattr(logging, level.upper())
    lines = services_for(request).recent_log.last(limit, severity)
    return LogModel(lines=[LogLineModel(**line._asdict()) for line in lines])
