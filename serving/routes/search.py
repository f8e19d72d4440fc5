"""Search: words, a picture, examples of what is meant, and what the answer is limited to."""

from __future__ import annotations

from typing import Any, cast

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import Response

from serving.problems import ProblemError
from serving.routes.common import HotRoute, engine_of, invalid, no_query, problems
from serving.search_engine import SearchEngine
from serving.search_schemas import SearchIn, SearchOut
from serving.searching import Uploaded

PATH = "/v1/search"
JSON, FORM = "application/json", "multipart/form-data"
MAX_FILES = 11
FILES = ("picture", "like_picture", "unlike_picture")

_FILE = {"type": "string", "contentMediaType": "image/*", "contentEncoding": "binary", "format": "binary"}
_FORM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "query": {"type": "string", "description": "The JSON body, without pictures. Absent: as if `{}`."},
        "words": {"type": "string", "maxLength": 500, "description": "Short for `words` of the query."},
        "picture": {**_FILE, "description": "A picture file: JPEG, PNG, WEBP, GIF, BMP or TIFF."},
        "like_picture": {"type": "array", "maxItems": 5, "items": _FILE},
        "unlike_picture": {"type": "array", "maxItems": 5, "items": _FILE},
    },
    "additionalProperties": False,
}


async def search(request: Request) -> Response:
    """Read the query in either form and hand it on."""
    _ = engine_of(request).live  # not ready is said before the body is judged
    no_query(request)
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind not in (JSON, FORM):
        raise ProblemError(415, "unsupported-media-type", f"the body must be {JSON} or {FORM}, it is {kind!r}")
    try:
        if kind == JSON:
            asked, uploaded = SearchIn.model_validate_json(await request.body()), Uploaded()
        else:
            async with request.form(max_files=MAX_FILES, max_fields=2, max_part_size=100_000) as form:
                asked, uploaded = _query_of(form), await _files_of(form)
    except ValidationError as error:
        raise invalid(error, "body") from error
    answer = await cast(SearchEngine, request.app.state.search_engine).search(asked, uploaded)
    return Response(answer, media_type=JSON, headers={"cache-control": "no-store"})


def _query_of(form: FormData) -> SearchIn:
    for name, value in form.multi_items():
        if name not in (*FILES, "query", "words"):
            raise _misplaced(name, f"must be one of query, words, {', '.join(FILES)}")
        if isinstance(value, UploadFile) != (name in FILES):
            raise _misplaced(name, "must be a file" if name in FILES else "must be a text")
    asked = SearchIn.model_validate_json(cast(str, form.get("query", "{}")))
    if "words" not in form:
        return asked
    return SearchIn.model_validate({**asked.model_dump(), "words": form["words"]})


async def _files_of(form: FormData) -> Uploaded:
    files = {name: [await cast(UploadFile, one).read() for one in form.getlist(name)] for name in FILES}
    for name, most in zip(FILES, (1, 5, 5), strict=True):
        if len(files[name]) > most:
            raise _misplaced(name, f"may be given {most} times at most")
    own, like, unlike = (files[name] for name in FILES)
    return Uploaded(own[0] if own else None, tuple(like), tuple(unlike))


def _misplaced(name: str, rule: str) -> ProblemError:
    errors = [{"place": f"body.{name[:80]}", "rule": rule, "value": name[:80]}]
    return ProblemError(422, "invalid-request", f"body.{name[:80]}: {rule}", errors=errors)


hot = [HotRoute(PATH, search, methods=["POST"])]
documented = APIRouter(tags=["search"])


@documented.post(
    PATH,
    response_model=SearchOut,
    responses=problems(400, 409, 413, 415, 422, 503),
    openapi_extra={"requestBody": {"content": {FORM: {"schema": _FORM_SCHEMA}}}},
)
async def search_items(query: SearchIn) -> None:
    """Find items by words, by a picture, or by both, near to some examples and far from others.

    As JSON with pictures in base64, or as a form with pictures as files. Filters hold before anything is ranked, so a
    page is full while enough items pass them. Words are matched letter by letter and by meaning, against the items'
    words and pictures; each result says by what it was found and why.
    """
