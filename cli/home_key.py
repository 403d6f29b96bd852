"""The key of `celldrop serve`: loopback is open to every user of a machine, and a home is one user's."""

from __future__ import annotations

import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from shared.domain.errors import NotAuthenticatedError

PARAMETER = "key"
_SCHEME = "bearer "
_BYTES = 24


@dataclass(frozen=True, slots=True)
class HomeKey:
    """What whoever asks over HTTP must know: it lies in the home, in a file that only its owner reads.

    Attributes:
        path: Where it lies.
        session: What browsers are given in its place, for as long as this server runs: they send cookies to every
            port of a host, whoever listens there.
    """

    secret: str
    path: Path
    session: str = field(default_factory=lambda: secrets.token_urlsafe(_BYTES), compare=False)

    @classmethod
    def of(cls, state: Path) -> HomeKey:
        """The key of a home's state folder, made where there is none; the same at every start."""
        path = state / "http-key"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            found = path.read_text(encoding="ascii").strip()
            if found:
                path.chmod(0o600)
                return cls(found, path)
            path.unlink()  # Whoever made it was ended before it was written.
            return cls.of(state)
        secret = secrets.token_urlsafe(_BYTES)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secret + "\n")
        return cls(secret, path)

    def is_in(self, given: str) -> bool:
        """Whether this is the key."""
        return hmac.compare_digest(given.encode(), self.secret.encode())

    def check(self, authorization: str | None, session: str | None = None) -> None:
        """Let in whoever has the key, or was given a session for it.

        Raises:
            NotAuthenticatedError: The header does not carry it.
        """
        if session and hmac.compare_digest(session.encode(), self.session.encode()):
            return
        given = authorization or ""
        if not given.lower().startswith(_SCHEME) or not self.is_in(given[len(_SCHEME) :].strip()):
            raise NotAuthenticatedError(
                "the request does not carry this server's key",
                expected="the one in the file .celldrop/http-key of its home",
                hint="Open the address that `celldrop serve` printed, or send the header Authorization: Bearer KEY.",
            )
