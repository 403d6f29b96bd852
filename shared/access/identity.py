"""Authentication of callers by Google's identity tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeAlias

from shared.domain.errors import NotAllowedError, NotAuthenticatedError, UnavailableError

Verify: TypeAlias = Callable[[str], Mapping[str, Any]]
"""Checks a token's signature, audience, issuer and times, and returns its claims."""

CheckCaller: TypeAlias = Callable[[str | None], object]
"""Checks an Authorization header. Raises NotAuthenticatedError, NotAllowedError or UnavailableError."""

_SCHEME = "bearer "
_MAX_TOKEN_CHARACTERS = 16_384
"""Google's tokens have one or two thousand."""
CLOCK_SKEW_S = 30
"""How far our clock and the issuer's may differ. Without any, a token that was just issued is "used too early" now and
then (google-auth-library-python issue 889)."""
_UNREADABLE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""Other exceptions from parsing a token. Until its signature is checked, its content is arbitrary: deep nesting, a list
as the name of a key, numbers instead of strings."""


def anyone(_authorization: str | None) -> None:
    """Accept every caller: the platform or the loopback address already limits who can call."""


@dataclass(frozen=True, slots=True)
class Callers:
    """The callers that are allowed.

    Attributes:
        allowed: E-mail addresses in lower case; ``@example.org`` allows everyone of that domain.
    """

    verify: Verify
    allowed: frozenset[str]

    def check(self, authorization: str | None) -> str:
        """Check a caller by the Authorization header. Returns the e-mail address.

        Raises:
            NotAuthenticatedError: There is no token, or it is not valid.
            NotAllowedError: The token is valid, but its address is not allowed.
            UnavailableError: Google's keys could not be fetched or read.
        """
        if authorization is None or not authorization.lower().startswith(_SCHEME):
            raise NotAuthenticatedError("the request has no bearer token", expected="a Google identity token")
        token = authorization[len(_SCHEME) :].strip()
        if len(token) > _MAX_TOKEN_CHARACTERS:
            raise NotAuthenticatedError("the bearer token is too long", expected="a Google identity token")
        claims = self.verify(token)
        email = str(claims.get("email", "")).lower()
        if claims.get("email_verified") is not True or not email:
            raise NotAllowedError("the token names no verified e-mail address", expected="email_verified")
        if not {email, "@" + email.rpartition("@")[2]} & self.allowed:
            raise NotAllowedError("the caller is not one of those allowed", hint="Add the address to the setting.")
        return email


def callers(verify: Verify, allowed: Collection[str]) -> Callers:
    """The callers of a setting, with spaces and empty addresses removed."""
    return Callers(verify, frozenset(address.strip().lower() for address in allowed if address.strip()))


def google_verifier(audience: str, fetch: Callable[..., object] | None = None) -> Verify:
    """A verifier based on google-auth: it checks the RS256 signature by Google's keys, audience, issuer and times.

    The verifier raises NotAuthenticatedError, or UnavailableError if Google's keys cannot be fetched or read.

    Args:
        fetch: A ``google.auth.transport.Request`` for Google's keys; by default one that caches them as long as
            their HTTP headers allow.
    """
    from google.auth.exceptions import GoogleAuthError, TransportError  # noqa: PLC0415  # only needed where tokens are checked
    from google.oauth2 import id_token  # noqa: PLC0415

    transport = _certificates_only(fetch if fetch is not None else _caching_transport())

    def verify(token: str) -> Mapping[str, Any]:
        try:
            claims: Mapping[str, Any] = id_token.verify_oauth2_token(
                token, transport, audience, clock_skew_in_seconds=CLOCK_SKEW_S
            )
        except TransportError as error:
            raise UnavailableError("Google's keys could not be fetched", hint="Try again.") from error
        except (GoogleAuthError, *_UNREADABLE) as error:
            raise NotAuthenticatedError(
                f"the token is not accepted ({type(error).__name__})", expected=f"a Google token for {audience}"
            ) from error
        return claims

    return verify


def _caching_transport() -> Callable[..., object]:
    import requests  # noqa: PLC0415
    from cachecontrol import CacheControl  # noqa: PLC0415
    from google.auth.transport.requests import Request  # noqa: PLC0415

    transport: Callable[..., object] = Request(session=CacheControl(requests.Session()))
    return transport


def _certificates_only(fetch: Callable[..., Any]) -> Callable[..., object]:
    """The same transport, which fails on an answer of something else, such as a proxy's page with status 200.

    google-auth would read that answer as a fault of the token.
    """
    from google.auth import crypt  # noqa: PLC0415  # only needed where tokens are checked
    from google.auth.exceptions import TransportError  # noqa: PLC0415

    def fetched(url: str, method: str = "GET", **how: object) -> object:
        answer = fetch(url, method=method, **how)
        if answer.status == HTTPStatus.OK:
            try:
                certificates = dict(json.loads(answer.data))
                verifiers = [crypt.RSAVerifier.from_string(one) for one in certificates.values()]
            except _UNREADABLE as error:
                raise TransportError(f"the answer of {url} has no certificates") from error
            if not verifiers:
                raise TransportError(f"the answer of {url} is empty")
        return answer

    return fetched
