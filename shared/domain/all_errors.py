"""The list of all errors of the domain."""

from __future__ import annotations

from shared.domain.errors import CelldropError


def all_errors() -> tuple[type[CelldropError], ...]:
    """Every error of the domain, base class first. The reference page is checked against this list."""
    found: list[type[CelldropError]] = [CelldropError]
    for kind in found:
        found.extend(kind.__subclasses__())
    return tuple(dict.fromkeys(found))
