"""The page that Prometheus scrapes."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from trtserve.engines.metrics import Wanted
from trtserve.services import services_for

router = APIRouter(tags=["server"])

MOST = 100  # names, and engines, that one request may list


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(
    request: Request,
    names: Annotated[
        list[str] | None,
        Query(alias="name[]", max_length=MOST, description="Only the metrics of these names."),
    ] = None,
    ids: Annotated[
        list[int] | None,
        Query(alias="id[]", max_length=MOST, description="Of the engines' series, only those of these IDs."),
    ] = None,
) -> Response:
    """Metrics in the text format of Prometheus, or of OpenMetrics if the client accepts that.

    A client that shows a few numbers can ask for just these.
    """
    wanted = Wanted(frozenset(names or ()), frozenset(ids or ()))
    accepted = request.headers.get("accept", "")
    page, media_type = await services_for(request).metrics.page(accepted, wanted)
    return Response(page, headers={"Content-Type": media_type})
