"""Gives a model the Cell Ontology terms of its labels afterwards. It is another model then, and its card says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jobs.modeling.lineages import read_mapping
from jobs.modeling.ontology import Ontology, read_ontology
from jobs.modeling.sources import sha256_of
from jobs.modeling.trees import with_terms
from shared.bundles.card import Label, ModelCard
from shared.bundles.distinct import TERMS_ADDED_TO, origin_of
from shared.domain.errors import InvalidOptionError
from shared.domain.words import listed

SUFFIX = "-terms"
"""After the name of a model, that of the one with terms, unless another is asked for."""


@dataclass(frozen=True, slots=True)
class TermFiles:
    """What terms are taken from.

    Attributes:
        ontology: An .obo file or .json.
        terms: A table of labels and their terms, by id or name, which have precedence over names and synonyms.
    """

    ontology: Path
    terms: Path | None = None

    @classmethod
    def of(cls, ontology: Path | None, terms: Path | None) -> TermFiles | None:
        """Those that a command names; None if there are none.

        Raises:
            InvalidOptionError: There is a table without an ontology, or the ontology cannot be read.
        """
        if ontology is None:
            check_has_ontology(ontology, terms)
            return None
        read_ontology(ontology)
        return cls(ontology, terms)


def check_has_ontology(ontology: Path | None, terms: Path | None) -> None:
    """Check that there is no table of terms without an ontology.

    Raises:
        InvalidOptionError: There is.
    """
    if terms is not None and ontology is None:
        raise InvalidOptionError("--terms without --ontology", hint="Give both: the ids are checked by the ontology.")


def given_terms(labels: Iterable[Label], table: Path | None) -> Mapping[str, str]:
    """The terms that a table gives to labels; none without a table.

    Raises:
        InvalidOptionError: The table cannot be read, or has a name that no label has.
    """
    if table is None:
        return {}
    given, names = read_mapping(str(table), what="terms"), [label.name for label in labels]
    strange = [name for name in given if name not in set(names)]
    if strange:
        raise InvalidOptionError(
            f"{listed(strange, 3)} in the table of --terms, and no label of the model",
            expected="the model's own labels in the first column",
            where=str(table),
            hint=f"Its labels are {listed(names, 10)}.",
        )
    return given


def add_terms(card: ModelCard, files: TermFiles, name: str, version: str) -> ModelCard:
    """The card of the same model with the terms of its labels and all that these are kinds of, without a digest.

    Labels keep the ids that they have, unless the table gives others. Names, scores and groups stay as they are.

    Raises:
        InvalidOptionError: The name and version are those of the model, no label is a term of the ontology, or
            the table cannot be used.
    """
    if (name, version) == (card.name, card.version):
        raise InvalidOptionError(
            f"{card.reference} with other terms would be called {card.reference}, too",
            expected="another name or version",
            hint=f"Leave --name out for {card.name}{SUFFIX}, or choose another --name or --version.",
        )
    ontology = read_ontology(files.ontology)
    made = with_terms(card.labels, ontology, given_terms(card.labels, files.terms))
    if not made["terms"]:
        raise InvalidOptionError(
            f"none of {len(card.labels)} labels of {card.reference} is a term of {files.ontology.name}, by id, name or "
            f"exact synonym: {listed([label.name for label in card.labels], 3)}",
            expected="a label that is",
            where=str(files.ontology),
            hint="Give the labels' terms in a table: --terms FILE.",
        )
    about = {**made, "name": name, "version": version, "digest": "", "description": _described(card, files, ontology)}
    parameters = {**card.training.parameters, **_origin(card, files, ontology)}
    return card.model_copy(update={**about, "training": card.training.model_copy(update={"parameters": parameters})})


def _origin(card: ModelCard, files: TermFiles, ontology: Ontology) -> dict[str, str]:
    table = {} if files.terms is None else {"terms_table_sha256": sha256_of(files.terms)}
    return {
        TERMS_ADDED_TO: origin_of(card),
        "terms_from": _whose(files, ontology),
        "terms_from_sha256": sha256_of(files.ontology),
        **table,
    }


def _described(card: ModelCard, files: TermFiles, ontology: Ontology) -> str:
    by_hand = f", and of the table {files.terms.name}" if files.terms else ""
    added = f"{card.reference} with the Cell Ontology terms of {_whose(files, ontology)}{by_hand}."
    return f"{card.description} {added}".strip()


def _whose(files: TermFiles, ontology: Ontology) -> str:
    return f"{files.ontology.name} ({ontology.release})" if ontology.release else files.ontology.name
