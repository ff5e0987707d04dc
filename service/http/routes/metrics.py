"""The page that Prometheus scrapes."""

from fastapi import APIRouter, Request, Response

from trtserve.services import services_for

router = APIRouter(tags=["server"])


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Metrics in the text format of Prometheus, or of OpenMetrics if the client accepts that."""
    page, media_type = await services_for(request).metrics.page(request.headers.get("accept", ""))
    return Response(page, headers={"Content-Type": media_type})
