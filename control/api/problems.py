"""Refusals as problem documents (RFC 9457): what, why, and which field."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException
from sqlalchemy.exc import DataError, IntegrityError, OperationalError

from control.services.errors import (
    Conflict,
    FieldError,
    Invalid,
    LostRace,
    MailFailed,
    NotFound,
    Reference,
    ServiceError,
    SwitchAway,
    Throttled,
)
from control.services.sessions import LoginRefused

log = structlog.get_logger("control.api")

MEDIA_TYPE: Final = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 9457 §3, with the fields that are at fault and the things that stand in the way."""

    type: str
    title: str
    status: int
    detail: str = ""
    errors: tuple[FieldError, ...] = ()
    references: tuple[Reference, ...] = ()


class Unauthorized(ServiceError):
    """No key, or none that opens anything."""


class Forbidden(ServiceError):
    """The key's role does not reach that far."""


def answer(problem: Problem, headers: dict[str, str] | None = None) -> Response[bytes]:
    return Response(
        msgspec.json.encode(problem), status_code=problem.status, media_type=MEDIA_TYPE, headers=headers or {}
    )


def answer_service_error(_request: Request[Any, Any, Any], error: ServiceError) -> Response[bytes]:
    detail = str(error)
    if isinstance(error, Invalid):
        return answer(_problem("invalid", "Invalid request", 400, detail, errors=error.errors))
    if isinstance(error, NotFound):
        return answer(_problem("not-found", "Not found", 404, detail))
    if isinstance(error, Conflict):
        found = _problem("conflict", "Conflict", 409, detail, errors=error.errors, references=error.references)
        return answer(found)
    if isinstance(error, LostRace):
        # RFC 9110 §15.5.13 for If-Match; the same news about a field of the body is a conflict.
        status = 412 if error.is_precondition else 409
        return answer(_problem("lost-race", "Changed meanwhile", status, detail))
    if isinstance(error, LoginRefused):
        kind = "code-needed" if error.is_code_missing else "login-refused"
        return answer(_problem(kind, "Not let in", 401, detail), {"WWW-Authenticate": "Bearer"})
    if isinstance(error, Unauthorized):
        return answer(_problem("unauthorized", "Unauthorized", 401, detail), {"WWW-Authenticate": "Bearer"})
    if isinstance(error, Forbidden):
        return answer(_problem("forbidden", "Forbidden", 403, detail))
    if isinstance(error, SwitchAway):
        return answer(_problem("switch-away", "Switch away", 503, detail), {"Retry-After": "5"})
    if isinstance(error, Throttled):
        return answer(_problem("throttled", "Throttled", 429, detail), {"Retry-After": str(error.retry_after_s)})
    if isinstance(error, MailFailed):
        return answer(_problem("mail-failed", "Mail failed", 503, detail), {"Retry-After": "60"})
    return answer(_problem("refused", "Refused", 400, detail))


def answer_http_error(_request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What the framework refuses by itself: unknown paths, methods, bodies that are too large."""
    title = _TITLES.get(error.status_code, "Refused")
    if error.status_code >= 500:
        return answer(_problem("internal", "Internal error", error.status_code, ""))
    headers = {name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"}
    return answer(_problem(title.lower().replace(" ", "-"), title, error.status_code, error.detail), headers)


_TITLES: Final = {
    400: "Bad request",
    404: "Not found",
    405: "Method not allowed",
    413: "Too large",
    415: "Unsupported media type",
}


def answer_integrity_error(_request: Request[Any, Any, Any], error: IntegrityError) -> Response[bytes]:
    """Two requests passed the same check at once; the store let one through."""
    log.warning("refused by the store", reason=str(error.orig))
    return answer(_problem("conflict", "Conflict", 409, "Something like it was stored at the same moment."))


def answer_operational_error(_request: Request[Any, Any, Any], error: OperationalError) -> Response[bytes]:
    """The disk is full, the database is locked or gone."""
    log.error("store failed", reason=str(error.orig))
    return answer(_problem("store-failed", "Store failed", 503, ""), {"Retry-After": "5"})


def answer_data_error(_request: Request[Any, Any, Any], error: DataError) -> Response[bytes]:
    """A NUL, or a number beyond what any row has: PostgreSQL takes neither, even to look for them."""
    log.info("refused by the store", reason=str(error.orig))
    return answer(_problem("invalid", "Invalid request", 400, "A value is not one that can be stored.", errors=_UNFIT))


def answer_overflow(_request: Request[Any, Any, Any], error: OverflowError) -> Response[bytes]:
    """The same from SQLite's driver, and from dates beyond any calendar."""
    log.info("number out of range", reason=str(error))
    return answer(_problem("invalid", "Invalid request", 400, "A value is not one that can be stored.", errors=_UNFIT))


_UNFIT: Final = (FieldError(path="", reason="holds a NUL, or is out of range"),)


def answer_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Our bug. What it says stays in the log: it may hold what the caller must not see."""
    log.error("request failed", method=request.method, path=request.url.path, exc_info=error)
    return answer(_problem("internal", "Internal error", 500, ""))


def _problem(
    kind: str,
    title: str,
    status: int,
    detail: str,
    *,
    errors: tuple[FieldError, ...] = (),
    references: tuple[Reference, ...] = (),
) -> Problem:
    return Problem(
        type=f"urn:tandem:problem:{kind}",
        title=title,
        status=status,
        detail=detail,
        errors=errors,
        references=references,
    )
