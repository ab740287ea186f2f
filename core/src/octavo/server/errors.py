"""Every failure as the body that OpenAI clients expect: `{"error": {message, type, param, code}}`.

One function gives status and body of any exception; the handlers put it on the wire for
everything that can go wrong in a route, in the router, or in the parsing of a body. What was not
raised on purpose is logged with its traceback, and the client is told only that it happened.

Does not know routes, streams or what raises what.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from octavo.errors import ClientError, LaterError, OctavoError

log = logging.getLogger("octavo.server")

ErrorBody = dict[str, dict[str, str | None]]


def install(app: FastAPI) -> None:
    """Answer every exception of the app in OpenAI's form.

    Effects: registers exception handlers on the app.
    """
    app.add_exception_handler(OctavoError, _answer)
    app.add_exception_handler(RequestValidationError, _answer)
    app.add_exception_handler(HTTPException, _answer)
    app.add_exception_handler(Exception, _answer)


def error_of(failure: BaseException) -> tuple[int, ErrorBody]:
    """Give the HTTP status and the body that tell a client of a failure.

    Effects: logs, with its traceback, what was not raised on purpose.
    """
    if isinstance(failure, ClientError):
        body = error_body(str(failure), failure.kind, param=failure.param, code=failure.code)
        return failure.status, body
    if isinstance(failure, LaterError):
        return 503, error_body(str(failure), "service_unavailable_error")
    if isinstance(failure, RequestValidationError):
        return 400, _of_validation(failure)
    if isinstance(failure, HTTPException):
        return failure.status_code, _of_http(failure)
    if isinstance(failure, OctavoError):
        return 500, error_body(str(failure), "internal_error", code="engine_error")
    log.error("unexpected failure in a request", exc_info=failure)
    return 500, error_body("The server failed; its log says why.", "internal_error")


def error_body(
    message: str, kind: str, *, param: str | None = None, code: str | None = None
) -> ErrorBody:
    """Make the body of an error."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


async def _answer(request: Request, failure: Exception) -> JSONResponse:
    status, body = error_of(failure)
    return JSONResponse(body, status_code=status, headers=_headers_of(failure))


def _headers_of(failure: Exception) -> Mapping[str, str] | None:
    if isinstance(failure, HTTPException):
        return failure.headers
    if isinstance(failure, LaterError) and failure.retry_after_s is not None:
        return {"Retry-After": str(math.ceil(failure.retry_after_s))}
    return None


def _of_http(failure: HTTPException) -> ErrorBody:
    status = failure.status_code
    message = {
        404: "There is no such route here. GET / lists the routes.",
        405: "This route does not take that method.",
    }.get(status, str(failure.detail) or HTTPStatus(status).phrase)
    kind = "not_found_error" if status == 404 else "invalid_request_error"
    return error_body(message, kind, code=HTTPStatus(status).phrase.lower().replace(" ", "_"))


def _of_validation(failure: RequestValidationError) -> ErrorBody:
    details: Sequence[Mapping[str, object]] = failure.errors()
    first = _most_telling(details)
    kind, message = str(first["type"]), str(first["msg"])
    path = _path(first)
    if kind == "json_invalid":
        return error_body(
            f"The body is not valid JSON: {_reason(first)}.",
            "invalid_request_error",
            param="body",
            code="invalid_json",
        )
    if kind == "extra_forbidden":
        message = f"The parameter '{path}' is not known."
    elif kind == "missing":
        message = f"The parameter '{path}' is missing." if path else "A JSON body is missing."
    elif kind == "model_attributes_type" and not path:
        message = "The body must be a JSON object, sent with 'Content-Type: application/json'."
    elif sum(_path(each) == path for each in details) > 1:
        message = f"The parameter '{path}' has none of the types that it may have."
    elif path:
        message = f"The parameter '{path}' is not valid: {message}."
    return error_body(message, "invalid_request_error", param=path or "body", code=kind)


def _most_telling(details: Sequence[Mapping[str, object]]) -> Mapping[str, object]:
    """Choose the error to tell: of a union's many, the one that got deepest."""

    def depth(detail: Mapping[str, object]) -> int:
        place = detail["loc"]
        return len(place) if isinstance(place, tuple) else 0

    return max(details, key=depth)


def _path(detail: Mapping[str, object]) -> str:
    place = detail["loc"]
    assert isinstance(place, tuple)
    # A union's branch stands in the place under its type's name, for example `list[int]`.
    names = [str(part) for part in place[1:] if not _is_branch(str(part))]
    return ".".join(names)


def _is_branch(part: str) -> bool:
    named = part.startswith("constrained-") or part in {"str", "int", "float", "bool", "dict"}
    return named or "[" in part or part[:1].isupper()


def _reason(detail: Mapping[str, object]) -> str:
    context = detail.get("ctx")
    return str(context["error"]) if isinstance(context, Mapping) and "error" in context else "?"
