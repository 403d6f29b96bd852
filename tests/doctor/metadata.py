"""A metadata server with an answer of its own, as google-auth's credentials of an attached account see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


class MetadataServer:
    """A transport of google-auth, at whose other end is that server."""

    def __init__(self, status: int, data: bytes = b"") -> None:
        self._answer = _MetadataAnswer(status, data)

    def __call__(self, url: str, method: str = "GET", **_how: object) -> _MetadataAnswer:
        assert "metadata" in url
        assert method == "GET"
        return self._answer


@dataclass(frozen=True)
class _MetadataAnswer:
    status: int
    data: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
