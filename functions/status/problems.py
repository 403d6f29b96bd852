"""Maps every error to an HTTP status and problem details (RFC 9457)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus

from werkzeug.exceptions import HTTPException

from functions.status.schemas import Problem
from shared.domain.errors import CelldropError, UnreadableRecordError

STATUS_OF: Mapping[str, HTTPStatus] = {
    "INVALID_OPTION": HTTPStatus.BAD_REQUEST,
    "NOT_AUTHENTICATED": HTTPStatus.UNAUTHORIZED,
    "NOT_ALLOWED": HTTPStatus.FORBIDDEN,
    "SUBMISSION_NOT_FOUND": HTTPStatus.NOT_FOUND,
    "RESULT_FILE_NOT_FOUND": HTTPStatus.NOT_FOUND,
    "RESULT_NOT_READY": HTTPStatus.CONFLICT,
    "ILLEGAL_TRANSITION": HTTPStatus.CONFLICT,
    "BLOB_NOT_FOUND": HTTPStatus.GONE,
    "UNAVAILABLE": HTTPStatus.SERVICE_UNAVAILABLE,
    "DISK_FULL": HTTPStatus.SERVICE_UNAVAILABLE,
    "ACCESS_DENIED": HTTPStatus.SERVICE_UNAVAILABLE,
    "NO_CAPACITY": HTTPStatus.SERVICE_UNAVAILABLE,
    "START_REFUSED": HTTPStatus.SERVICE_UNAVAILABLE,
    "RECORD_UNREADABLE": HTTPStatus.SERVICE_UNAVAILABLE,
}
"""HTTP status by error code. Every other code is our own fault: INTERNAL_SERVER_ERROR."""

HTTP_CODES: Mapping[int, tuple[str, str, str]] = {
    HTTPStatus.BAD_REQUEST: ("BAD_REQUEST", "the request cannot be read", "Check its URL."),
    HTTPStatus.FORBIDDEN: (
        "CROSS_SITE_REQUEST",
        "the request was not sent from a page of this server",
        "Open the submission's page on this server and use the button there.",
    ),
    HTTPStatus.NOT_FOUND: ("ROUTE_NOT_FOUND", "there is nothing at this URL", "Start from / or /v1/submissions."),
    HTTPStatus.METHOD_NOT_ALLOWED: (
        "METHOD_NOT_ALLOWED",
        "this URL does not support the request's method",
        "The Allow header lists the supported methods.",
    ),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (
        "BODY_TOO_LARGE",
        "the request's body is too large",
        "Send the request without a body: no endpoint reads one.",
    ),
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: (
        "RANGE_NOT_SATISFIABLE",
        "the requested range lies outside the file",
        "The Content-Range header gives the file's size.",
    ),
    HTTPStatus.MISDIRECTED_REQUEST: (
        "HOST_NOT_ALLOWED",
        "this server only accepts requests to localhost",
        "Use the URL that `celldrop serve` printed.",
    ),
    HTTPStatus.SERVICE_UNAVAILABLE: (
        "TOO_MANY_CONNECTIONS",
        "this server is already handling as many requests as it can",
        "Try again in a few seconds. To follow many submissions at once, list them instead of watching each one.",
    ),
}
"""Errors of the HTTP layer itself, by status: code, detail and hint."""

_GONE = ("the file was deleted or replaced while it was read", "Load the submission again.")
_FAULT = (
    "the server failed to handle this request",
    "Try again. If it fails again, search the server's log for this code.",
)
_BUSY = ("a service that this server depends on did not answer", "Try again in a few seconds.")
_UNREADABLE = (
    "the record of the submission is of a version that this server cannot read",
    "Ask whoever runs the server: it needs the version that wrote the record.",
)

log = logging.getLogger(__name__)


def problem_of(error: Exception) -> Problem:
    """Turn an error into the problem details that the caller sees.

    Internal facts (paths, hosts, stack traces) go to the log only. The caller gets details only about their own
    mistakes, and without the place where the mistake was found.
    """
    match error:
        case CelldropError():
            return _domain_problem(error)
        case HTTPException(code=int(number)) if number in HTTP_CODES:
            return _problem(HTTPStatus(number), *HTTP_CODES[number])
        case _:
            log.error("status: unexpected fault", exc_info=error)
            return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, CelldropError.code, *_FAULT)


def _domain_problem(error: CelldropError) -> Problem:
    status = STATUS_OF.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)
    match status:
        case HTTPStatus.SERVICE_UNAVAILABLE:
            log.warning("status: %s", error.message, extra={"code": error.code})
            return _problem(status, error.code, *(_UNREADABLE if error.code == UnreadableRecordError.code else _BUSY))
        case HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("status: %s", error.message, exc_info=error, extra={"code": error.code})
            return _problem(status, error.code, *_FAULT)
        case HTTPStatus.GONE:
            return _problem(status, error.code, *_GONE)
        case _:
            detail = f"{error.found}; expected {error.expected}" if error.expected else error.found
            return _problem(status, error.code, detail, error.hint)


def _problem(status: HTTPStatus, code: str, detail: str, hint: str) -> Problem:
    return Problem(
        type=f"urn:celldrop:error:{code}",
        title=code.replace("_", " ").capitalize(),
        status=status,
        detail=f"{detail[:1].upper()}{detail[1:]}.",
        code=code,
        hint=hint,
    )
