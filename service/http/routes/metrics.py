"""The page that Prometheus scrapes."""

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

if TYPE_CHECKING:
    from trtserve.engines.metrics import Metrics

router = APIRouter(tags=["server"])


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Metrics in the text format of Prometheus, or of OpenMetrics where that is accepted."""
    held: Metrics = request.app.state.metrics
    page, media_type = await held.page(request.headers.get("accept", ""))
    return Response(page, headers={"Content-Type": media_type})
