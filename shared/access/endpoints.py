"""The doors that the platform pushes through: what an answer means to it, whatever was sent."""

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

_JSON = {"Content-Type": "application/json"}
_NOTHING: Answer = ("", HTTPStatus.NO_CONTENT, {})
_STATUS: Mapping[type[CelldropError], HTTPStatus] = {
    UnknownVersionError: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotAuthenticatedError: HTTPStatus.UNAUTHORIZED,
    NotAllowedError: HTTPStatus.FORBIDDEN,
}
"""Every other error asks for another delivery: SERVICE_UNAVAILABLE."""

log = logging.getLogger(__name__)


def answer(headers: Mapping[str, str], body: bytes, check: CheckCaller, handle: Callable[[Pushed], None]) -> Answer:
    """Let one push in; the status tells the platform whether to deliver it again.

    204 acknowledges: it was handled, or it can never be. Anything else asks for another delivery, and in the end for
    the dead-letter topic. The body never says what was sent, nor by whom. Every event of a batch has its turn,
    whatever becomes of the others; handling is idempotent, so that one of them may ask for all of them again.
    """

    def handled() -> str:
        faults = [fault for pushed in pushes_of(headers, body) if (fault := _fault_of(pushed, handle)) is not None]
        if faults:
            raise min(faults, key=lambda fault: isinstance(fault, UnknownVersionError))
        return ""

    return called(headers, check, handled)


def called(headers: Mapping[str, str], check: CheckCaller, handle: Callable[[], str]) -> Answer:
    """Let one call in, from somebody who may; answers with the JSON that ``handle`` returns, or with nothing."""
    try:
        check(headers.get("Authorization"))
        text = handle()
    except CelldropError as error:
        return _refused(error, _STATUS.get(type(error), HTTPStatus.SERVICE_UNAVAILABLE))
    except Exception as error:  # noqa: BLE001  # the last door: a fault of ours, with its traceback in the log
        return _refused(_fault_of_ours(error), HTTPStatus.SERVICE_UNAVAILABLE)
    return (text, HTTPStatus.OK, _JSON) if text else _NOTHING


def _fault_of(pushed: Pushed | InvalidMessageError, handle: Callable[[Pushed], None]) -> CelldropError | None:
    """What keeps one event from being acknowledged."""
    if isinstance(pushed, InvalidMessageError):
        return _malformed(pushed)
    try:
        handle(pushed)
    except InvalidMessageError as error:
        return _malformed(error)
    except CelldropError as error:
        return error
    except Exception as error:  # noqa: BLE001  # the others of its batch have their turn
        return _fault_of_ours(error)
    return None


def _malformed(error: InvalidMessageError) -> InvalidMessageError | None:
    """Acknowledged, as it will never be another; what a later version may read is left for the dead-letter topic."""
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
