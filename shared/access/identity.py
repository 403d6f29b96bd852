"""Authentication of callers by Google's identity tokens."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from shared.domain.errors import NotAllowedError, NotAuthenticatedError, UnavailableError

Verify: TypeAlias = Callable[[str], Mapping[str, Any]]
"""Checks a token's signature, audience, issuer and times, and returns its claims."""

CheckCaller: TypeAlias = Callable[[str | None], object]
"""Checks an Authorization header. Raises NotAuthenticatedError, NotAllowedError or UnavailableError."""

_SCHEME = "bearer "
_MAX_TOKEN_CHARACTERS = 16_384
"""Google's tokens have one or two thousand."""
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
            UnavailableError: Google's keys could not be fetched.
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

    The verifier raises NotAuthenticatedError, or UnavailableError if Google's keys cannot be fetched.

    Args:
        fetch: A ``google.auth.transport.Request`` for Google's keys; by default one that caches them as long as
            their HTTP headers allow.
    """
    from google.auth.exceptions import GoogleAuthError, TransportError  # noqa: PLC0415  # only needed where tokens are checked
    from google.oauth2 import id_token  # noqa: PLC0415

    transport = fetch if fetch is not None else _caching_transport()

    def verify(token: str) -> Mapping[str, Any]:
        try:
            claims: Mapping[str, Any] = id_token.verify_oauth2_token(token, transport, audience)
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
