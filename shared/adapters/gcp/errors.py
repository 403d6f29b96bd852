"""Translates the exceptions of Google's clients into errors of the domain."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from json import JSONDecodeError

from google.api_core import exceptions
from google.auth import exceptions as auth
from google.protobuf.json_format import ParseError  # type: ignore[import-untyped]  # ships no types

from shared.adapters.gcp.refusals import denial_hint
from shared.domain.errors import (
    AccessDeniedError,
    CelldropError,
    InternalError,
    PreconditionFailedError,
    UnavailableError,
)

TRANSIENT = (
    exceptions.Aborted,
    exceptions.Cancelled,
    exceptions.RetryError,
    exceptions.ServerError,
    exceptions.TooManyRequests,
)
"""Errors worth a retry. DEADLINE_EXCEEDED and UNAVAILABLE are server errors here, RESOURCE_EXHAUSTED is a 429."""

_UNMET = (exceptions.AlreadyExists, exceptions.FailedPrecondition, exceptions.PreconditionFailed)
_DENIED = (exceptions.Forbidden, exceptions.Unauthorized)
_GONE_CODES = frozenset({404, 410})
_REQUEST_TIMEOUT = 408
_METADATA = "metadata s"  # "metadata server" or "metadata service", as google-auth's own messages have it
_MESSAGE = re.compile(r'"message":\s*"((?:[^"\\]|\\.)+)"')
"""The message in a response's body, which the storage client quotes whole if a download is refused."""
_AROUND = re.compile(r"\A(GET|POST|PUT|DELETE) \S+: |: \('Request failed with status code'.*\Z", re.DOTALL)
"""The text that the client puts around that body."""


@contextmanager
def answering(
    where: str,
    *,
    grant: str,
    missing: CelldropError | None = None,
    unmet: CelldropError | None = None,
    refused: Callable[[str, str], CelldropError | None] | None = None,
) -> Iterator[None]:
    """Translate what the service raises inside this context. Only calls of the service belong inside.

    Args:
        where: The resource of the call.
        grant: The role that allows the call, and on what.
        missing: The error for "not found"; without it, an InternalError.
        unmet: The error for a failed precondition, if it is not the caller's own.
        refused: Makes the error for a request that can never succeed; without it, an InternalError.

    Raises:
        UnavailableError: No answer, a busy service, or an answer from something else (a proxy's page, say).
        PreconditionFailedError: The resource has another generation than expected, or exists against expectation.
        AccessDeniedError: This account lacks a permission, or is unknown.
        InternalError: The service rejects the request itself.
        ObjectRefusedError: If ``refused`` makes it.
    """
    try:
        yield
    except (exceptions.GoogleAPIError, auth.GoogleAuthError, OSError, ParseError, JSONDecodeError) as error:
        said = _said(error, where, grant, missing, unmet)
        if refused is not None and isinstance(said, InternalError) and getattr(error, "code", 400) in {400, None}:
            said = refused(_all_words(error), where) or said
        raise said from error


def _said(
    error: Exception, where: str, grant: str, missing: CelldropError | None, unmet: CelldropError | None
) -> CelldropError:
    if missing is not None and isinstance(error, exceptions.GoogleAPICallError) and error.code in _GONE_CODES:
        return missing
    if isinstance(error, _UNMET):
        return unmet or PreconditionFailedError(_words(error), expected="what the caller had read", where=where)
    if isinstance(error, _DENIED) or is_refused_login(error):
        hint = f"Grant {grant} to the account that this runs as; a new grant takes some minutes to take effect."
        return AccessDeniedError(_words(error), where=where, hint=denial_hint(_all_words(error)) or hint)
    if isinstance(error, exceptions.GoogleAPICallError) and not _is_transient(error):
        return InternalError(f"the service refuses the request: {_words(error)}", where=where)
    return UnavailableError(f"the service did not answer: {_words(error)}", where=where, hint="Try again.")


def _is_transient(error: exceptions.GoogleAPICallError) -> bool:
    return isinstance(error, TRANSIENT) or error.code == _REQUEST_TIMEOUT


def is_refused_login(error: Exception) -> bool:
    """Whether the credentials were really refused, not just impossible to check.

    google-auth wraps failures of the metadata server (no connection, 500, 429, an empty answer) in a RefreshError too.
    Only the cause or the message shows it; the metadata server itself refuses nobody (google-auth-library-python issue
    1562).
    """
    if not isinstance(error, auth.GoogleAuthError) or isinstance(error, auth.TransportError) or error.retryable:
        return False
    return not _is_of_the_metadata_server(error)


def _is_of_the_metadata_server(error: BaseException) -> bool:
    causes = (error.__cause__, error.__context__, *error.args)
    return any(isinstance(cause, auth.TransportError) for cause in causes) or _METADATA in str(error).lower()


def _words(error: Exception) -> str:
    text = error.message if isinstance(error, exceptions.GoogleAPICallError) else str(error)
    quoted = _MESSAGE.search(text or "")
    plain = quoted[1] if quoted else _AROUND.sub("", text or "")
    return (plain or type(error).__name__).strip().removesuffix(".")


def _all_words(error: Exception) -> str:
    """The error's message and reasons, since a known refusal can be recognised by either."""
    reasons = [str(one.get("reason", "")) for one in getattr(error, "errors", ()) if isinstance(one, dict)]
    return " ".join([_words(error), *filter(None, reasons)])
