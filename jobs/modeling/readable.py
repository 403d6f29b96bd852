"""Readable names for the labels of training data, with their Cell Ontology ids and lineages."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from jobs.modeling.card_names import no_name
from jobs.modeling.plain_text import lines_of, read_text
from shared.bundles.card import Label, ModelCard
from shared.bundles.groups import ONTOLOGY_ID, Group
from shared.domain.errors import InvalidOptionError
from shared.faults import first_fault

BLOOD = "blood"
"""The name of ``BLOOD_NAMES`` for ``read_names``."""
_COLUMNS = ("submitted", "name", "id", "lineage")


@dataclass(frozen=True, slots=True)
class Readable:
    """What a label is called.

    Attributes:
        ontology_id: Its Cell Ontology id; None leaves that of the data.
        lineage: None likewise.
    """

    name: str
    ontology_id: str | None = None
    lineage: str | None = None


BLOOD_NAMES: Mapping[str, Readable] = MappingProxyType(
    {
        # Zheng et al. 2017, populations sorted with magnetic beads. Their regulatory T cells are CD4+/CD25+.
        "b-cells": Readable("B cell", "CL:0000236", "B cell"),
        "cd14-monocytes": Readable("CD14 monocyte", "CL:0001054", "Monocyte"),
        "cd4-t-helper": Readable("CD4 helper T cell", "CL:0000492", "T cell"),
        "cd56-nk": Readable("NK cell", "CL:0000623", "NK cell"),
        "memory-t": Readable("Memory CD4 T cell", "CL:0000897", "T cell"),
        "naive-cytotoxic": Readable("Naive CD8 T cell", "CL:0000900", "T cell"),
        "naive-t": Readable("Naive CD4 T cell", "CL:0000895", "T cell"),
        "regulatory-t": Readable("Regulatory T cell", "CL:0000792", "T cell"),
        # What tools/blood_reference.py calls the types that only PBMC 3k has.
        "cd16-monocytes": Readable("CD16 monocyte", "CL:0002396", "Monocyte"),
        "cd8-effector-t": Readable("Effector CD8 T cell", "CL:0001050", "T cell"),
        "dendritic": Readable("Dendritic cell", "CL:0000451", "Dendritic cell"),
        "platelets": Readable("Platelet", "CL:0000233", "Megakaryocyte"),
    }
)
"""Readable names of the labels that celldrop's models of blood are trained on."""


def read_names(text: str) -> Mapping[str, Readable]:
    """Read readable names by label: ``blood``, or a .tsv or .csv of two to four columns.

    The columns are the label in the training data, its readable name, its Cell Ontology id and its lineage; the last
    two may be empty or missing. A first row ``submitted, name, id, lineage`` is a header.

    Raises:
        InvalidOptionError: The file does not exist or has another content.
    """
    if text == BLOOD:
        return BLOOD_NAMES
    path = Path(text)
    try:
        delimiter = "," if ".csv" in map(str.lower, path.suffixes) else "\t"
        found = _names_in(csv.reader(lines_of(read_text(path)), delimiter=delimiter))
    except (OSError, ValueError, csv.Error) as error:
        raise InvalidOptionError(
            f"names cannot be read: {error}",
            expected=f"{BLOOD!r}, or a .tsv or .csv that gives each label its readable name",
            where=text,
            hint='One line for each label, such as "naive-t,Naive CD4 T cell,CL:0000895,T cell"; the last two '
            "are optional.",
        ) from error
    return found


def _names_in(rows: Iterable[list[str]]) -> Mapping[str, Readable]:
    table = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    if table and tuple(cell.casefold() for cell in table[0]) == _COLUMNS[: len(table[0])]:
        del table[0]
    if not table:
        msg = "it is empty"
        raise ValueError(msg)
    for row in table:
        _check(row)
    for column, what in enumerate(_COLUMNS[:2]):
        repeated = [name for name, count in Counter(row[column] for row in table).items() if count > 1]
        if repeated:
            msg = f"the {what} {repeated[0]!r} occurs more than once"
            raise ValueError(msg)
    filled = [[*row, "", ""][:4] for row in table]
    return MappingProxyType(
        {submitted: Readable(name, term or None, lineage or None) for submitted, name, term, lineage in filled}
    )


def _check(row: list[str]) -> None:
    if not 2 <= len(row) <= len(_COLUMNS) or not row[0] or not row[1]:
        msg = f"the row {', '.join(row)!r} has not two to four columns, with a label and a name"
        raise ValueError(msg)
    if len(row) > 2 and row[2] and not ONTOLOGY_ID.fullmatch(row[2]):
        msg = f"the label {row[0]!r} has the id {row[2]!r}, which is none of the Cell Ontology"
        raise ValueError(msg)


def renamed(card: ModelCard, readable: Mapping[str, Readable], version: str) -> ModelCard:
    """The card of the same weights with readable names, in another version. Other labels keep their names.

    The labels keep their order, and a name that a label had before stays as the submitted one. A group that is a
    lineage gets the lineage's new name.

    Raises:
        InvalidOptionError: No label of the card has a readable name, two labels would have the same, or the card would
            break the format, as if a group's name meant two things.
    """
    new = {label.name: readable.get(label.name, Readable(label.name)) for label in card.labels}
    if len({one.name for one in new.values()}) < len(new) or not readable.keys() & new.keys():
        raise InvalidOptionError(
            f"these names do not fit the labels of {card.reference}",
            expected="another name for at least one of its labels, and no two of the same name",
            hint=f"`celldrop models show {card.reference}` prints its labels.",
        )
    labels = tuple(
        label.model_copy(
            update={
                "name": new[label.name].name,
                "ontology_id": new[label.name].ontology_id or label.ontology_id,
                "lineage": new[label.name].lineage or label.lineage,
                "submitted": label.submitted or (None if new[label.name].name == label.name else label.name),
            }
        )
        for label in card.labels
    )
    training = card.training.model_copy(
        update={
            "parameters": {**card.training.parameters, "renamed_from": card.reference},
            "per_label": {new[name].name: figures for name, figures in card.training.per_label.items()},
        }
    )
    tree = tuple(_renamed_group(group, card.labels, labels) for group in card.tree)
    changed = {"labels": labels, "training": training, "tree": tree, "version": version, "digest": ""}
    try:
        return type(card).model_validate(card.model_copy(update=changed).model_dump())
    except ValidationError as error:
        raise _no_card(card, version, error) from error


def _renamed_group(group: Group, before: Sequence[Label], after: Sequence[Label]) -> Group:
    """The group with its labels' new names; one that is a lineage is called as the lineage is now."""
    pairs = [(old, new) for old, new in zip(before, after, strict=True) if old.name in group.labels]
    named = {old.name: new.name for old, new in pairs}
    is_lineage = group.name in {old.lineage for old, _ in pairs}
    lineages = {new.lineage for _, new in pairs}
    name = next(iter(lineages)) if is_lineage and len(lineages) == 1 else group.name
    return group.model_copy(update={"name": name, "labels": tuple(named[label] for label in group.labels)})


def _no_card(card: ModelCard, version: str, error: ValidationError) -> InvalidOptionError:
    fault = first_fault(error)
    if fault.place == "version":
        return no_name(error)
    return InvalidOptionError(
        f"with these names, {card.reference} would be no valid card {version}: {fault.reason}",
        expected="names of labels, lineages and groups that each mean one thing",
        hint=f"`celldrop models show {card.reference}` prints its labels, lineages and groups: give other names.",
    )
