"""The access key of `celldrop serve`: every user of a machine can reach loopback, but a home belongs to one user."""

from __future__ import annotations

import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from shared.domain.errors import NotAuthenticatedError, SettingsError
from shared.wiring.folders import open_own_file

PARAMETER = "key"
_SCHEME = "bearer "
_BYTES = 24
_MAX_BYTES = 1024


@dataclass(frozen=True, slots=True)
class HomeKey:
    """The key that HTTP clients must send. It is stored in the home folder, in a file that only the owner can read.

    Attributes:
        path: The file of the key.
        session: The value of the browser's cookie, valid while this server runs. It is not the key itself, since
            browsers send cookies to every port of a host, whichever server listens there.
    """

    secret: str
    path: Path
    session: str = field(default_factory=lambda: secrets.token_urlsafe(_BYTES), compare=False)

    @classmethod
    def of(cls, state: Path) -> HomeKey:
        """Read the key from a home's state folder, or create it. It stays the same at every start.

        Raises:
            SettingsError: What is there is no file of a key.
        """
        path = state / "http-key"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            found = _read(path)
            if found:
                return cls(found, path)
            path.unlink()  # Empty: the process that created it was killed before it wrote the key.
            return cls.of(state)
        secret = secrets.token_urlsafe(_BYTES)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secret + "\n")
        return cls(secret, path)

    def is_in(self, given: str) -> bool:
        """Whether the given text is the key."""
        return hmac.compare_digest(given.encode(), self.secret.encode())

    def check(self, authorization: str | None, session: str | None = None) -> None:
        """Accept a request with the key in its header, or with this server's session cookie.

        Raises:
            NotAuthenticatedError: The request has neither.
        """
        if session and hmac.compare_digest(session.encode(), self.session.encode()):
            return
        given = authorization or ""
        if not given.lower().startswith(_SCHEME) or not self.is_in(given[len(_SCHEME) :].strip()):
            raise NotAuthenticatedError(
                "the request does not contain this server's key",
                expected="the key in the file .celldrop/http-key of the server's home folder",
                hint="Open the URL that `celldrop serve` printed, or send the header Authorization: Bearer KEY.",
            )


def _read(path: Path) -> str:
    """Read the key, and make sure that only its owner can."""
    hint = "Remove it, then start celldrop again: it makes a new one."
    with os.fdopen(open_own_file(path, os.O_RDONLY), "rb") as file:
        try:
            os.fchmod(file.fileno(), 0o600)
        except PermissionError as error:
            raise SettingsError("it belongs to another user", where=str(path), hint=hint) from error
        text = file.read(_MAX_BYTES)
    if not text.isascii() or len(text.split()) > 1:
        raise SettingsError("it does not contain a key", where=str(path), hint=hint)
    return text.decode().strip()
