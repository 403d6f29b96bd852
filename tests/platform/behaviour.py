"""One row of the table of what the platform does."""

from __future__ import annotations

import re
from dataclasses import dataclass

_CODE = re.compile(r"`([A-Z][A-Z0-9_]+|\d{3})`")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One row.

    Attributes:
        platform: What the platform does.
        source: Where that stands: an address, or a document's name.
        product: What the product does then. The codes and states in it are what the proof observes.
        proof: The test that shows it, ``FILE::NAME`` under ``tests/``.
    """

    platform: str
    source: str
    product: str
    proof: str

    @property
    def outcome(self) -> tuple[str, ...]:
        """The states, codes and HTTP statuses that the row promises."""
        return tuple(_CODE.findall(self.product))

    @property
    def proof_name(self) -> str:
        return self.proof.rpartition("::")[2]
