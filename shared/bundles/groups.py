"""The tree above a model's labels: groups of labels that are kinds of one wider type."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field

ONTOLOGY_ID = re.compile(r"CL:\d{7}")


class Group(BaseModel):
    """A node of the tree: labels that are kinds of one wider type, such as "CD4-positive, alpha-beta T cell".

    Attributes:
        ontology_id: Its Cell Ontology id, if known.
        labels: The names of the labels that are kinds of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    ontology_id: str | None = Field(default=None, pattern=f"^{ONTOLOGY_ID.pattern}$")
    labels: tuple[str, ...] = Field(min_length=2)


def check_tree(groups: Sequence[Group], lineage_of: Mapping[str, str | None], reserved: str) -> None:
    """Check that groups are a tree above labels, the narrowest first.

    Args:
        lineage_of: The lineage of each label.
        reserved: A name that no group may have.

    Raises:
        ValueError: They are none.
    """
    sets = [frozenset(group.labels) for group in groups]
    known = set(lineage_of)
    for group, members in zip(groups, sets, strict=True):
        if len(members) < len(group.labels) or not members < known:
            msg = f"the group {group.name!r} must have some labels of the model, but not all, each once"
            raise ValueError(msg)
    if len(set(sets)) < len(sets) or sorted(map(len, sets)) != [len(one) for one in sets]:
        msg = "groups must differ in their labels, those with the fewest first"
        raise ValueError(msg)
    widest: dict[str, frozenset[str]] = {}
    for group, members in zip(groups, sets, strict=True):
        inside = dict.fromkeys(widest[label] for label in group.labels if label in widest)
        crossing = next((inner for inner in inside if not inner <= members), None)
        if crossing is not None:
            msg = f"groups must lie within one another or apart, found {sorted(crossing)} and {sorted(members)}"
            raise ValueError(msg)
        widest.update(dict.fromkeys(members, members))
    _check_names(groups, lineage_of, reserved)


def _check_names(groups: Sequence[Group], lineage_of: Mapping[str, str | None], reserved: str) -> None:
    """A name means one thing: that of a lineage its labels, that of a label at least this label."""
    names = [group.name for group in groups]
    if len(set(names)) < len(names) or reserved in names:
        msg = f"groups must have different names, and none may be called {reserved}"
        raise ValueError(msg)
    for group in groups:
        if not has_meaning(group.name, group.labels, lineage_of):
            msg = f"the group {group.name!r} must have the labels of the lineage or the label of this name"
            raise ValueError(msg)


def has_meaning(name: str, labels: Iterable[str], lineage_of: Mapping[str, str | None]) -> bool:
    """Whether a group of this name and these labels says the same as the lineage or the label of this name, if any."""
    members = set(labels)
    of_lineage = {label for label, lineage in lineage_of.items() if lineage == name}
    return (not of_lineage or of_lineage == members) and (name not in lineage_of or name in members)
