"""Each thing that Google's clients raise has one meaning in our words, and one that decides about trying again."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from google.api_core import exceptions
from google.auth import exceptions as auth
from google.auth.compute_engine import Credentials
from google.protobuf import json_format  # type: ignore[import-untyped]  # ships no types
from google.protobuf.struct_pb2 import Struct  # type: ignore[import-untyped]  # likewise

from shared.adapters.gcp.errors import answering
from shared.domain.errors import (
    AccessDeniedError,
    BlobNotFoundError,
    CelldropError,
    InternalError,
    PreconditionFailedError,
    SettingsError,
    UnavailableError,
)
from tests.doctor.metadata import MetadataServer
from tests.platform.observed import RowSays

GONE = BlobNotFoundError("gone")


@pytest.mark.parametrize(
    ("kind", "meant"),
    [
        (exceptions.Aborted, UnavailableError),
        (exceptions.Cancelled, UnavailableError),
        (exceptions.DeadlineExceeded, UnavailableError),
        (exceptions.InternalServerError, UnavailableError),
        (exceptions.MethodNotImplemented, UnavailableError),
        (exceptions.ResourceExhausted, UnavailableError),
        (exceptions.ServiceUnavailable, UnavailableError),
        (exceptions.TooManyRequests, UnavailableError),
        (exceptions.Unknown, UnavailableError),
        (requests.ConnectionError, UnavailableError),
        (requests.Timeout, UnavailableError),
        (TimeoutError, UnavailableError),
        (auth.TransportError, UnavailableError),
        (auth.RefreshError, AccessDeniedError),
        (exceptions.Unauthenticated, AccessDeniedError),
        (exceptions.Unauthorized, AccessDeniedError),
        (exceptions.PermissionDenied, AccessDeniedError),
        (exceptions.Forbidden, AccessDeniedError),
        (exceptions.AlreadyExists, PreconditionFailedError),
        (exceptions.FailedPrecondition, PreconditionFailedError),
        (exceptions.PreconditionFailed, PreconditionFailedError),
        (exceptions.NotFound, BlobNotFoundError),
        (exceptions.InvalidArgument, InternalError),
    ],
)
def test_what_is_raised_has_one_meaning(kind: type[Exception], meant: type[CelldropError]) -> None:
    raised = kind("what it said")
    with pytest.raises(meant, match="gone" if meant is BlobNotFoundError else "what it said") as caught:
        _answered(raised)
    assert caught.value.__cause__ is raised
    assert type(caught.value) is meant


@pytest.mark.parametrize(("status", "meant"), [(408, UnavailableError), (410, BlobNotFoundError)])
def test_a_status_without_a_name_has_a_meaning_too(status: int, meant: type[CelldropError]) -> None:
    with pytest.raises(meant):
        _answered(_made(exceptions.from_http_status, status, "nameless"))


def test_a_login_that_may_yet_go_through_is_unavailable() -> None:
    with pytest.raises(UnavailableError):
        _answered(_made(auth.RefreshError, "try later", retryable=True))


@pytest.mark.parametrize("status", [404, 429, 500, 503])
def test_trouble_with_the_metadata_server_is_no_missing_right(
    row_says: RowSays, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("google.auth._exponential_backoff.time.sleep", lambda _seconds: None)
    with pytest.raises(UnavailableError) as caught, answering("here", grant="a role"):
        Credentials().refresh(MetadataServer(status))
    row_says(caught.value.code)


def test_an_account_that_the_metadata_server_knows_nothing_of_yet_is_no_missing_right() -> None:
    with pytest.raises(UnavailableError), answering("here", grant="a role"):
        Credentials().refresh(MetadataServer(200, b"{}"))


def test_an_answer_that_is_not_the_services_is_unavailable() -> None:
    for read in (json.loads, lambda text: json_format.Parse(text, Struct())):
        with pytest.raises(UnavailableError), answering("here", grant="a role"):
            read("<html>")


def test_what_was_repeated_for_too_long_is_unavailable() -> None:
    with pytest.raises(UnavailableError):
        _answered(_made(exceptions.RetryError, "gave up", cause=TimeoutError()))


def test_a_missing_thing_that_should_be_there_is_a_fault_of_ours() -> None:
    with pytest.raises(InternalError), answering("here", grant="a role"):
        raise _made(exceptions.NotFound, "n")


def test_a_condition_can_mean_something_else_than_a_race() -> None:
    unmet = SettingsError("no index")
    with pytest.raises(SettingsError), answering("here", grant="a role", unmet=unmet):
        raise _made(exceptions.FailedPrecondition, "The query requires an index.")


def test_a_refusal_says_what_the_service_said_and_which_role_is_missing() -> None:
    with pytest.raises(AccessDeniedError) as caught, answering("results/x", grant="roles/storage.objectUser"):
        raise _made(exceptions.Forbidden, "sa@p does not have storage.objects.get access.")
    assert caught.value.message == "sa@p does not have storage.objects.get access (results/x)."
    assert "roles/storage.objectUser" in caught.value.hint


def test_what_is_not_the_services_passes_through() -> None:
    with pytest.raises(KeyError):
        _answered(KeyError("ours"))
    with pytest.raises(BlobNotFoundError):
        _answered(GONE)


def _made(kind: Any, *args: object, **kwargs: object) -> Exception:
    error: Exception = kind(*args, **kwargs)
    return error


def _answered(raised: Exception) -> None:
    with answering("here", grant="a role", missing=GONE):
        raise raised
