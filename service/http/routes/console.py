"""The console: a page at `/` for people, which calls the API as any other client does."""

from fastapi import APIRouter, Request, Response

from trtserve.errors import NotFound
from trtserve.http.console_files import ASSETS, PAGE, console_files
from trtserve.http.content_coding import answer_coding
from trtserve.text import shown

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page(request: Request) -> Response:
    return _file(request, PAGE)


@router.get("/assets/{file}")
async def asset(request: Request, file: str) -> Response:
    return _file(request, f"{ASSETS}/{file}")


def _file(request: Request, path: str) -> Response:
    found = console_files().get(path)
    if found is None:
        raise NotFound(f"The console has no file {shown(path)}: load its page anew.")
    if found.compressed is not None and answer_coding(request.headers) == "gzip":
        found = found.compressed
    known = request.headers.get("if-none-match", "")
    if known == "*" or found.etag in {tag.strip().removeprefix("W/") for tag in known.split(",")}:
        return Response(None, 304, found.headers)
    return Response(found.content, headers=found.headers)
