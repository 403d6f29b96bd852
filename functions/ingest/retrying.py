"""Which errors refuse a file at once, and for how long all others are retried."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeGuard

from functions.ingest.tries import SPAN
from shared.domain.admission import Request
from shared.domain.errors import (
    BucketNotAllowedError,
    CelldropError,
    InputError,
    InternalError,
    InvalidBundleError,
    InvalidNameError,
    InvalidOptionError,
    ModelNotFoundError,
    NoTermsError,
    ObjectRefusedError,
    UnavailableError,
)
from shared.domain.submission import Failure

log = logging.getLogger(__name__)

_AT_FAULT = (
    InputError,
    BucketNotAllowedError,
    InvalidBundleError,
    InvalidNameError,
    InvalidOptionError,
    ModelNotFoundError,
    NoTermsError,
    ObjectRefusedError,
)


def is_at_fault(error: Exception) -> TypeGuard[CelldropError]:
    """Whether the file, the request or the requested model is at fault, so that no retry can help."""
    return isinstance(error, _AT_FAULT)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of an event.

    Attributes:
        event: The event's identity; None if nothing is delivered again.
        sent_at: When the event was first sent; None if unknown.
        settled: Whether it is stored for good which submission the event leads to.
    """

    event: str | None = None
    sent_at: datetime | None = None
    settled: bool = False

    def refused(self, request: Request, failure: Failure) -> Request:
        """The request, refused for trouble that is not its fault: under an id that only this event leads to.

        So the same request sent again, as another event, does not find this refusal. If it is settled that the event
        leads to the request's own id, that id is kept: one event never leads to two submissions.
        """
        if self.settled:
            return replace(request, refusal=failure)
        return replace(request, rerun_token=f"refused/{self.event or self.sent_at or ''}", refusal=failure)


@dataclass(frozen=True, slots=True)
class RetryTimes:
    """For how long after an event was sent an error is retried, if neither the file nor the request is at fault.

    Attributes:
        fault: For faults of the deployment or of celldrop. A new grant takes minutes to reach every server.
        drop: For a service that does not answer. Eventarc keeps an event for 24 hours, so time is left to record it.
        request: The same for a request. It gets 20 attempts in two and a half hours, and then goes to the dead-letter
            topic.
        span: An error is final only if a delivery failed in an earlier span of this length, too: an event may arrive
            late. Longer than a delivery may take.
    """

    fault: timedelta = timedelta(hours=1)
    drop: timedelta = timedelta(hours=20)
    request: timedelta = timedelta(hours=2)
    span: timedelta = SPAN

    def failure(self, error: Exception, waited: timedelta | None, *, requested: bool) -> Failure:
        """The failure to record for an error. An error that may pass is raised again, until its time is up.

        Args:
            waited: The time since the event was sent; None if unknown. Errors of retryable kinds are then raised.
        """
        if is_at_fault(error):
            return Failure.of(error)
        if waited is None:
            is_final = isinstance(error, CelldropError) and not error.retryable
        else:
            is_final = waited >= self._limit(error, requested=requested)
        if not is_final:
            raise error
        return _failure_of(error)

    def _limit(self, error: Exception, *, requested: bool) -> timedelta:
        if isinstance(error, UnavailableError):
            return self.request if requested else self.drop
        return self.fault


RETRY_TIMES = RetryTimes()
"""That of the deployed function."""


def _failure_of(error: Exception) -> Failure:
    if isinstance(error, CelldropError):
        return Failure.of(error)
    log.error("unexpected error at every delivery", exc_info=error)
    hint = "Please report it, with the ingest function's log of this time."
    return Failure.of(InternalError(f"{type(error).__name__} while the file was inspected", hint=hint))
