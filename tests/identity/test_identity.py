"""Only those who are named, with a token that Google signed for us, are let in."""

from __future__ import annotations

import time

import pytest

from shared.access.identity import CLOCK_SKEW_S, Callers, callers, google_verifier
from shared.domain.errors import NotAllowedError, NotAuthenticatedError, SettingsError, UnavailableError
from shared.settings import load_settings
from shared.wiring.ports import build_push_check, build_status_check
from tests.identity.tokens import AUDIENCE, PUSHER, Issuer


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def guard(issuer: Issuer) -> Callers:
    return callers(google_verifier(AUDIENCE, issuer), [PUSHER])


def test_the_named_account_is_let_in(guard: Callers, issuer: Issuer) -> None:
    assert guard.check(f"Bearer {issuer.token()}") == PUSHER


def test_a_domain_stands_for_everyone_in_it(issuer: Issuer) -> None:
    lab = callers(google_verifier(AUDIENCE, issuer), ["@lab.example"])
    assert lab.check(f"bearer {issuer.token(email='Ada@Lab.example')}") == "ada@lab.example"
    with pytest.raises(NotAllowedError):
        lab.check(f"bearer {issuer.token(email='ada@not-the-lab.example')}")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic eHg6eHg=", "Bearer a.b.c", "Bearer x"])
def test_without_a_token_nobody_is_let_in(guard: Callers, header: str | None) -> None:
    with pytest.raises(NotAuthenticatedError):
        guard.check(header)


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "https://somebody-else.example"},
        {"iss": "https://evil.example"},
        {"exp": int(time.time()) - 3600, "iat": int(time.time()) - 7200},
        {"iat": int(time.time()) + 7200, "exp": int(time.time()) + 9000},
    ],
    ids=["another audience", "another issuer", "expired", "of the future"],
)
def test_a_token_for_something_else_is_not_trusted(guard: Callers, issuer: Issuer, changed: dict[str, object]) -> None:
    with pytest.raises(NotAuthenticatedError):
        guard.check(f"Bearer {issuer.token(**changed)}")


def test_a_token_signed_by_another_key_is_not_trusted(guard: Callers) -> None:
    with pytest.raises(NotAuthenticatedError):
        guard.check(f"Bearer {Issuer().token()}")


@pytest.mark.parametrize(
    "changed", [{"email": "other@project.iam.gserviceaccount.com"}, {"email_verified": False}, {"email": ""}]
)
def test_a_good_token_of_somebody_else_is_not_enough(
    guard: Callers, issuer: Issuer, changed: dict[str, object]
) -> None:
    with pytest.raises(NotAllowedError):
        guard.check(f"Bearer {issuer.token(**changed)}")


def test_keys_that_cannot_be_fetched_ask_for_another_try() -> None:
    issuer = Issuer()
    issuer.down = True
    with pytest.raises(UnavailableError):
        callers(google_verifier(AUDIENCE, issuer), [PUSHER]).check(f"Bearer {issuer.token()}")


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>Sign in to this network</html>",
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'"text"',
        b"[" * 100_000,
        b'{"error": "busy"}',
        b'{"key-1": null}',
        b'{"keys": [{"kid": "key-1"}]}',
        b'{"key-1": "-----BEGIN CERTIFICATE-----\\nMIIC"}',
    ],
    ids=range(11),
)
def test_an_answer_without_googles_keys_says_nothing_against_the_token(answer: bytes) -> None:
    issuer = Issuer()
    issuer.answer = answer
    with pytest.raises(UnavailableError):
        callers(google_verifier(AUDIENCE, issuer), [PUSHER]).check(f"Bearer {issuer.token()}")


@pytest.mark.parametrize("ahead_s", [2, CLOCK_SKEW_S - 5, -3600 - 2])
def test_a_clock_that_differs_a_little_is_allowed(guard: Callers, issuer: Issuer, ahead_s: int) -> None:
    now = int(time.time())
    assert guard.check(f"Bearer {issuer.token(iat=now + ahead_s, exp=now + ahead_s + 3600)}") == PUSHER


@pytest.mark.parametrize("ahead_s", [CLOCK_SKEW_S + 60, -3600 - CLOCK_SKEW_S - 60])
def test_a_clock_that_differs_more_is_not(guard: Callers, issuer: Issuer, ahead_s: int) -> None:
    now = int(time.time())
    with pytest.raises(NotAuthenticatedError):
        guard.check(f"Bearer {issuer.token(iat=now + ahead_s, exp=now + ahead_s + 3600)}")


def test_the_token_is_never_in_the_message(guard: Callers, issuer: Issuer) -> None:
    token = issuer.token(aud="x")
    with pytest.raises(NotAuthenticatedError) as caught:
        guard.check(f"Bearer {token}")
    assert token.split(".")[1] not in str(caught.value)


def test_a_deployment_that_checks_tokens_must_say_whose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLDROP_BACKEND", "gcp")
    with pytest.raises(SettingsError, match="CELLDROP_PUSH_AUDIENCE"):
        build_push_check(load_settings())
    with pytest.raises(SettingsError, match="CELLDROP_STATUS_AUDIENCE"):
        build_status_check(load_settings(status_auth="oidc"))
    with pytest.raises(NotAuthenticatedError):
        build_push_check(load_settings(push_audience=AUDIENCE, push_accounts=f" {PUSHER} ,"))(None)
