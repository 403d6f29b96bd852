"""The one table from errors to HTTP: every refusal and fault as problem details (RFC 9457)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus

from werkzeug.exceptions import HTTPException

from functions.status.schemas import Problem
from shared.domain.errors import CelldropError

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
}
"""By the error's code; every other code is a fault of ours, INTERNAL_SERVER_ERROR."""

HTTP_CODES: Mapping[int, tuple[str, str, str]] = {
    HTTPStatus.BAD_REQUEST: ("BAD_REQUEST", "the request cannot be read", "Check its URL."),
    HTTPStatus.FORBIDDEN: (
        "CROSS_SITE_REQUEST",
        "the request does not come from a page of this server",
        "Open the submission's page on this server, and use the button there.",
    ),
    HTTPStatus.NOT_FOUND: ("ROUTE_NOT_FOUND", "there is nothing at this address", "Start from / or /v1/submissions."),
    HTTPStatus.METHOD_NOT_ALLOWED: (
        "METHOD_NOT_ALLOWED",
        "this address does not take this method",
        "The Allow header names the methods that it takes.",
    ),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("BODY_TOO_LARGE", "the request's body is too large", "No address takes one."),
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: (
        "RANGE_NOT_SATISFIABLE",
        "the range lies outside the file",
        "The Content-Range header tells the file's size.",
    ),
    HTTPStatus.MISDIRECTED_REQUEST: (
        "HOST_NOT_ALLOWED",
        "this server answers to localhost only",
        "Use the address that `celldrop serve` printed.",
    ),
    HTTPStatus.SERVICE_UNAVAILABLE: (
        "TOO_MANY_CONNECTIONS",
        "this server answers as many requests as it can",
        "Try again in a few seconds; a program that waits for many submissions should list them instead.",
    ),
}
"""What HTTP itself can refuse: code, detail and hint."""

_GONE = ("the file was deleted or replaced meanwhile", "Look the submission up again.")
_FAULT = ("the server could not answer this", "Try again; if it stays so, look for this code in the server's log.")
_BUSY = ("a service behind this one did not answer", "Try again in a few seconds.")

log = logging.getLogger(__name__)


def problem_of(error: Exception) -> Problem:
    """The problem that a caller is shown.

    What names the machine's insides (paths, hosts, stack) stays in the log: details pass only for the caller's
    own mistakes, and without the place where they were found.
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
            return _problem(status, error.code, *_BUSY)
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
