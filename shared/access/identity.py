"""Who calls: Google's identity tokens, checked in code."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from shared.domain.errors import NotAllowedError, NotAuthenticatedError, UnavailableError

Verify: TypeAlias = Callable[[str], Mapping[str, Any]]
"""From a token to its claims, once signature, audience, issuer and times are right."""

CheckCaller: TypeAlias = Callable[[str | None], object]
"""Given the Authorization header; raises NotAuthenticatedError, NotAllowedError or UnavailableError."""

_SCHEME = "bearer "
_MAX_TOKEN_CHARACTERS = 16_384
"""Google's are a kilobyte or two."""
_UNREADABLE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What parsing a token raises besides, which until its signature is checked may hold anything: nesting without end, a
list for a key's name, numbers for texts."""


def anyone(_authorization: str | None) -> None:
    """Check nobody: the platform, or the loopback address, has seen to it."""


@dataclass(frozen=True, slots=True)
class Callers:
    """Those who may call.

    Attributes:
        allowed: E-mail addresses; one that begins with ``@`` stands for everyone of that domain.
    """

    verify: Verify
    allowed: frozenset[str]

    def check(self, authorization: str | None) -> str:
        """The caller's e-mail address.

        Raises:
            NotAuthenticatedError: No token, or one that is not to be trusted.
            NotAllowedError: A good token of somebody else.
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
    """Those of a setting."""
    return Callers(verify, frozenset(address.strip().lower() for address in allowed if address.strip()))


def google_verifier(audience: str, fetch: Callable[..., object] | None = None) -> Verify:
    """Checks tokens by google-auth: RS256 signature by one of Google's keys, audience, issuer, and times.

    Args:
        fetch: A ``google.auth.transport.Request`` for Google's keys; by default one that keeps them as long as
            their answer allows.

    The verifier raises NotAuthenticatedError, and UnavailableError where the keys cannot be had.
    """
    from google.auth.exceptions import GoogleAuthError, TransportError  # noqa: PLC0415  # where tokens are checked
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
