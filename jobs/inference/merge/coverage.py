"""How much of what a model tells labels apart by is in a file: by the names of its genes, and by their values."""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.geometry import Rows
from shared.domain.words import listed, percent

_NAMED = 5


@dataclass(frozen=True, slots=True)
class EmptyGenes:
    """Genes that are in a file by name, but with no value where the model expects some.

    Attributes:
        names: As in the file, the most important first.
        importance: Their share of what the model tells labels apart by.
        rows: The rows in which they are empty; None if they are in the whole file.
    """

    names: tuple[str, ...]
    importance: float
    rows: Rows | None = None

    @property
    def words(self) -> str:
        """For example: no cell has a value of LYZ, S100A9, CST3, TYROBP, NKG7 and 11 more genes."""
        where = "" if self.rows is None else f" in about rows {self.rows.start + 1:,} to {self.rows.stop:,}"
        n_more = len(self.names) - _NAMED
        genes = listed(self.names, _NAMED, 30) + (" gene" if n_more == 1 else " genes" if n_more > 1 else "")
        others = "" if self.rows is None else ", which cells with the same labels in other rows have"
        return f"no cell{where} has a value of {genes}{others}"


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of what a model tells labels apart by is in a file.

    Attributes:
        named: The share of its features, by importance, that the file names; None if it is not known.
        empty: Those of them that have no values; None if there are none, or that is not known.
    """

    named: float | None
    empty: EmptyGenes | None = None

    @property
    def share(self) -> float | None:
        """The share of its features, by importance, that the file has with values."""
        if self.named is None or self.empty is None:
            return self.named
        return max(self.named - self.empty.importance, 0.0)

    def is_below(self, least: float) -> bool:
        """Whether the share is known and less."""
        return self.share is not None and self.share < least

    @property
    def words(self) -> str:
        """What is missing, for a sentence that goes on with what follows."""
        assert self.share is not None
        missing = percent(1 - self.share)
        if self.empty is None:
            return f"the file lacks genes with {missing} of what tells the labels apart"
        return f"{self.empty.words}, and {missing} of what tells the labels apart is missing"


NOT_KNOWN = Coverage(None)
