"""Refuses what would change one replica: the others would not know of it."""

from starlette.types import ASGIApp, Receive, Scope, Send

from trtserve.errors import Forbidden
from trtserve.http import error_answers
from trtserve.http.allowed_hosts import SAFE

ASKING = ("/infer", "/v2/repository/index")  # how the paths end that a POST may have


class RefuseChanges:
    """Wraps the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in SAFE and not self._asks(scope):
            refusal = Forbidden(
                "This is one of several replicas, which serve what their Ray application says: change "
                "`engines` in the user_config of its deployment."
            )
            await error_answers.answer(scope, refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    @staticmethod
    def _asks(scope: Scope) -> bool:
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        return scope["method"] == "POST" and path.endswith(ASKING)
