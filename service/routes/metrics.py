"""The page that Prometheus scrapes."""

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import choose_encoder

if TYPE_CHECKING:
    from service.metrics import Metrics

router = APIRouter(tags=["server"])


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Metrics in the text format of Prometheus, or of OpenMetrics where that is accepted."""
    held: Metrics = request.app.state.metrics
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(held.registry), headers={"Content-Type": media_type})
