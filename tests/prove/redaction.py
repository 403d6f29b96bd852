"""Keeps tokens, keys and the caller's address out of everything that a proof writes down."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SECRETS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"\beyJ[\w-]{6,}\.[\w-]{6,}(?:\.[\w-]*)?"),  # identity tokens
    re.compile(r"\bya29\.[\w.-]+"),  # access tokens
    re.compile(r"\b1//0[\w-]{10,}"),  # refresh tokens
    re.compile(r"\bAIza[\w-]{20,}"),  # API keys
    re.compile(r"\bGOCSPX-[\w-]+"),  # client secrets
    re.compile(r"(?i)(?<=bearer )[\w.~+/=-]{8,}"),
    re.compile(r"(?i)(?<=x-goog-signature=)[0-9a-f]+"),
    re.compile(r'(?<="private_key": ")[^"]+|(?<="refresh_token": ")[^"]+|(?<="client_secret": ")[^"]+'),
)
REMOVED = "[removed]"


class Redactor:
    """Replaces what is known to be secret, and what looks like it."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def learn(self, secret: str, shown: str = REMOVED) -> None:
        """Replace a text from now on; one of a few letters would hit other words."""
        if len(secret) >= 6:
            self._known[secret] = shown

    def __call__(self, text: str) -> str:
        """The text without secrets."""
        for secret, shown in self._known.items():
            text = text.replace(secret, shown)
        for pattern in _SECRETS:
            text = pattern.sub(REMOVED, text)
        return text

    def lines(self, texts: Iterable[str]) -> list[str]:
        """Each of them without secrets."""
        return [self(text) for text in texts]
