"""The two sides of a matching: a file's names of its genes, and a model's features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class FeatureTable(Protocol):
    """A model's ordered features; either tuple may be empty. ``bundle.Features`` is one."""

    def __hash__(self) -> int:
        """Equal tables are one key."""
        ...

    @property
    def symbol(self) -> tuple[str | None, ...]:
        """Gene symbols, None where unknown."""
        ...

    @property
    def ensembl(self) -> tuple[str | None, ...]:
        """Ensembl ids without version, None where unknown."""
        ...


@dataclass(frozen=True, slots=True)
class GeneNames:
    """A file's names of its genes, one for each column that is a gene.

    Attributes:
        apart: Ensembl ids of the same genes from another column, which tell genes of one name apart; else empty.
    """

    ids: Sequence[str]
    apart: Sequence[str] = ()
