"""HTTP endpoints that the platform calls: which status a request gets, whatever its content."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TypeAlias

from shared.access.cloud_events import Pushed, pushes_of
from shared.access.identity import CheckCaller
from shared.domain.errors import (
    CelldropError,
    InternalError,
    InvalidMessageError,
    NotAllowedError,
    NotAuthenticatedError,
    UnknownVersionError,
)
from shared.telemetry import event

Answer: TypeAlias = tuple[str, int, dict[str, str]]
"""Body, status and headers."""
BuildCheck: TypeAlias = Callable[[], CheckCaller]

_JSON = {"Content-Type": "application/json"}
_NOTHING: Answer = ("", HTTPStatus.NO_CONTENT, {})
_STATUS: Mapping[type[CelldropError], HTTPStatus] = {
    UnknownVersionError: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotAuthenticatedError: HTTPStatus.UNAUTHORIZED,
    NotAllowedError: HTTPStatus.FORBIDDEN,
}
"""The status of each error. Every other error gets SERVICE_UNAVAILABLE, which asks for another delivery."""

log = logging.getLogger(__name__)


def answer(headers: Mapping[str, str], body: bytes, check: BuildCheck, handle: Callable[[Pushed], None]) -> Answer:
    """Handle a pushed request. The status tells the platform whether to deliver it again.

    204 acknowledges the request: it was handled, or it never can be. Any other status asks for another delivery, and
    finally for the dead-letter topic. The body never repeats what was sent, or who sent it. Every event of a batch is
    handled even if another one fails. If one fails, the whole batch is delivered again, so handlers must be idempotent.
    """

    def handled() -> str:
        faults = [fault for pushed in pushes_of(headers, body) if (fault := _fault_of(pushed, handle)) is not None]
        if faults:
            raise min(faults, key=lambda fault: isinstance(fault, UnknownVersionError))
        return ""

    return called(headers, check, handled)


def called(headers: Mapping[str, str], check: BuildCheck, handle: Callable[[], str]) -> Answer:
    """Check the caller, run ``handle``, and answer with the JSON that it returns, or with 204 if it returns none.

    Args:
        check: Builds the check of callers. It can fail, for a wrong setting for example.
    """
    try:
        check()(headers.get("Authorization"))
        text = handle()
    except CelldropError as error:
        return _refused(error, _STATUS.get(type(error), HTTPStatus.SERVICE_UNAVAILABLE))
    except Exception as error:  # noqa: BLE001  # a bug of ours: the traceback goes to the log
        return _refused(_fault_of_ours(error), HTTPStatus.SERVICE_UNAVAILABLE)
    return (text, HTTPStatus.OK, _JSON) if text else _NOTHING


def _fault_of(pushed: Pushed | InvalidMessageError, handle: Callable[[Pushed], None]) -> CelldropError | None:
    """Handle one event. Returns the error that it must be delivered again for, or None to acknowledge it."""
    if isinstance(pushed, InvalidMessageError):
        return _malformed(pushed)
    try:
        handle(pushed)
    except InvalidMessageError as error:
        return _malformed(error)
    except CelldropError as error:
        return error
    except Exception as error:  # noqa: BLE001  # the other events of the batch are still handled
        return _fault_of_ours(error)
    return None


def _malformed(error: InvalidMessageError) -> InvalidMessageError | None:
    """Acknowledge an invalid event, but not one of an unknown version: it is kept in the dead-letter topic."""
    if isinstance(error, UnknownVersionError):
        return error
    event(log, "malformed, acknowledged", level=logging.ERROR, code=error.code, found=error.message)
    return None


def _fault_of_ours(error: Exception) -> InternalError:
    log.error("unexpected fault", exc_info=error)
    return InternalError(f"{type(error).__name__} while the call was handled")


def _refused(error: CelldropError, status: HTTPStatus) -> Answer:
    event(log, "not acknowledged", level=logging.WARNING, code=error.code, problem=error.message, status=int(status))
    return error.code, status, {"Content-Type": "text/plain"}
