"""One mechanism of the product switched off for as long as a history lasts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from tests.simulation.history import play
from tests.simulation.town import Town

Patch: TypeAlias = Callable[[object, str, object], None]
"""Sets an attribute until the mutant is over."""
FOREVER = timedelta(days=10_000)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mechanism switched off.

    Attributes:
        without: What is missing.
        within: Histories that must suffice to notice it.
    """

    name: str
    without: str
    within: int
    change: Callable[[Patch], None] = lambda _patch: None
    town: Callable[[Town], None] = lambda _town: None

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The product without the mechanism, for as long as this lasts."""
        kept: list[tuple[object, str, object]] = []

        def patch(owner: object, name: str, value: object) -> None:
            kept.append((owner, name, vars(owner)[name]))
            setattr(owner, name, value)

        try:
            self.change(patch)
            yield
        finally:
            for owner, name, value in reversed(kept):
                setattr(owner, name, value)

    def caught_at(self, seeds: Sequence[int]) -> tuple[int, str] | None:
        """How many histories it took to notice, and what was noticed; None when none did."""
        with self.applied():
            for n, seed in enumerate(seeds, 1):
                violations = play(seed, self.town).violations
                if violations:
                    return n, violations[0]
        return None
