"""One row of the table of what the platform does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One row.

    Attributes:
        platform: What the platform does.
        source: Where that stands: an address, or a document's name.
        product: What the product does then.
        proof: The test that shows it, ``FILE::NAME`` under ``tests/``.
    """

    platform: str
    source: str
    product: str
    proof: str
