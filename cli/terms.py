"""Says which labels are no terms of the Cell Ontology, with the terms whose names are nearest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from cli.console import Output
from jobs.modeling.nearest import Near, near_words, nearest_of
from jobs.modeling.ontology import read_ontology
from shared.bundles.card import ModelCard


def say_unplaced(unplaced: Mapping[str, Iterable[Near]], ontology: str, output: Output) -> None:
    """Print a line for each label that has no term."""
    for name, near in unplaced.items():
        words = f"  {name!r} is no term of {ontology}, by id, name or exact synonym"
        output.prose(f"{words}{near_words(near)}", style="yellow")


def say_without_terms(card: ModelCard, ontology: Path, output: Output) -> dict[str, list[str]]:
    """The same for the labels of a model of which its card carries no terms; returned by label, for JSON."""
    carried = {term.id for term in card.terms}
    names = [label.name for label in card.labels if label.ontology_id not in carried]
    unplaced = nearest_of(names, read_ontology(ontology)) if names else {}
    say_unplaced(unplaced, ontology.name, output)
    return {name: [str(one) for one in near] for name, near in unplaced.items()}
