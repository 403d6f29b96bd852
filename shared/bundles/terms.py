"""The part of the Cell Ontology that a bundle carries: its labels' terms and all that these are kinds of."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from shared.bundles.groups import ONTOLOGY_ID

ROOT_ID, ROOT_NAME = "CL:0000000", "cell"
"""The root of the Cell Ontology."""


class Term(BaseModel):
    """A type of cells in the Cell Ontology.

    Attributes:
        id: Its Cell Ontology id.
        parents: The ids of the terms that it is a kind of (``is_a``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=f"^{ONTOLOGY_ID.pattern}$")
    name: str = Field(max_length=1_000)
    parents: tuple[str, ...] = ()


def check_terms(terms: Sequence[Term]) -> None:
    """Check that each term has a name and occurs once, after its parents, so that none is its own ancestor.

    Raises:
        ValueError: They do not.
    """
    before: set[str] = set()
    for term in terms:
        if term.id in before:
            msg = f"the term {term.id} must occur once"
            raise ValueError(msg)
        if not term.name.strip() or "\0" in term.name:
            msg = f"the term {term.id} must have a name, without NUL characters"
            raise ValueError(msg)
        missing = [parent for parent in term.parents if parent not in before]
        if missing:
            msg = f"the parents of the term {term.id} must come before it, found {missing[0]}"
            raise ValueError(msg)
        before.add(term.id)
