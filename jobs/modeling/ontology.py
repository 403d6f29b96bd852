"""Finds Cell Ontology terms by name, and what is a kind of what, from an .obo or .json file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import BaseModel, ValidationError

from jobs.modeling.plain_text import lines_of, read_text
from shared.bundles.groups import ONTOLOGY_ID
from shared.domain.errors import InvalidOptionError
from shared.domain.words import cut
from shared.faults import first_fault

_EXACT = re.compile(r'"((?:[^"\\]|\\.)*)" EXACT\b')
_SHORTEST = 6
_MAX_BYTES = 256 * 2**20
"""cl.obo has some 16 MB, and CELLxGENE's .json 3 MB."""
_RELEASE = re.compile(r"^data-version:[ \t]*(.+)$", re.MULTILINE)
_HEADER, _LETTERS = 10_000, 100
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Term:
    """A cell type of the ontology.

    Attributes:
        parents: Ids of the cell types that it is a kind of (``is_a``).
    """

    id: str
    name: str
    exact_synonyms: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ontology:
    """An index of terms by name and by exact synonym.

    Attributes:
        parents: The ids of each term's parents.
        names: The name of each term.
        release: As an .obo file says, such as cl/releases/2026-03-26/cl-simple.owl; empty if the file does not say.
    """

    by_name: dict[str, str]
    by_synonym: dict[str, str]
    parents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    release: str = ""

    def id_of(self, label: str) -> str | None:
        """The id of the term with this name, or else with this exact synonym, ignoring case; None if ambiguous."""
        key = _key(label)
        return self.by_name.get(key) or self.by_synonym.get(key)


class _GuideTerm(BaseModel):
    """A term as cellxgene-ontology-guide writes it, as far as it is used."""

    label: str
    ancestors: dict[str, int] = {}
    synonyms: tuple[str, ...] = ()
    deprecated: bool = False


def read_ontology(path: Path) -> Ontology:
    """Read Cell Ontology terms from an .obo file (format 1.2 or 1.4) or from CELLxGENE's .json, both also as .gz.

    Terms of other ontologies are left out. The encoding may be UTF-8, UTF-16 or Latin-1.

    Raises:
        InvalidOptionError: The file cannot be read or has no such terms.
    """
    release = ""
    try:
        text = read_text(path, _MAX_BYTES)
        release = _release(text)
        terms = list(parse_json(text) if text.lstrip().startswith("{") else parse_terms(lines_of(text)))
    except (OSError, ValueError, RecursionError) as error:
        terms, problem = [], f": {error}"
    else:
        problem = ""
    if not terms:
        raise InvalidOptionError(
            f"the file has no readable Cell Ontology terms{problem}",
            expected="an .obo file with [Term] stanzas of CL:0000000 ids, or CELLxGENE's .json with such ids",
            where=str(path),
            hint="Give the cl.obo or cl-simple.obo of a Cell Ontology release.",
        )
    return replace(ontology_of(terms), release=release)


def _release(text: str) -> str:
    found = _RELEASE.search(text, 0, _HEADER)
    return cut(found[1].strip(), _LETTERS) if found else ""


def ontology_of(terms: Iterable[Term]) -> Ontology:
    """Index terms by name and synonym, without names that two terms share and without abbreviations.

    Abbreviations mean different cells to different authors: in CL, DC2 is an exact synonym of the plasmacytoid
    dendritic cell, while models list both DC2 and pDC.
    """
    known = list(terms)
    return Ontology(
        by_name=_unique((term.name, term.id) for term in known),
        by_synonym=_unique(
            (synonym, term.id) for term in known for synonym in term.exact_synonyms if len(synonym) >= _SHORTEST
        ),
        parents={term.id: term.parents for term in known},
        names={term.id: term.name for term in known},
    )


def parse_terms(lines: Iterable[str]) -> Iterator[Term]:
    """Parse the cell types in .obo text, without obsolete ones."""
    for stanza in _term_stanzas(lines):
        tags = [(tag, value) for tag, _, value in (line.partition(": ") for line in stanza)]
        first = dict(reversed(tags))
        if ONTOLOGY_ID.fullmatch(first.get("id", "")) and first.get("is_obsolete") != "true" and first.get("name"):
            yield Term(first["id"], _unescape(first["name"]), _exact_synonyms(tags), _parents(tags))


def parse_json(text: str) -> Iterator[Term]:
    """Parse the cell types in the JSON of cellxgene-ontology-guide, without obsolete ones.

    It gives each id a ``label``, ``ancestors`` with their distances, of which those at 1 are the parents, and
    ``synonyms``, which are exact.

    Raises:
        ValueError: The text is no JSON, or a term has another form.
    """
    for identifier, about in json.loads(text).items():
        if not ONTOLOGY_ID.fullmatch(identifier):
            continue
        told = _guide_term(identifier, about)
        if told.label.strip() and not told.deprecated and not told.label.startswith("obsolete "):
            nearest = [term for term, steps in told.ancestors.items() if steps == 1]
            parents = tuple(filter(ONTOLOGY_ID.fullmatch, nearest))
            yield Term(identifier, told.label, told.synonyms, parents)


def _guide_term(identifier: str, about: object) -> _GuideTerm:
    try:
        return _GuideTerm.model_validate(about)
    except ValidationError as error:
        raise ValueError(f"the term {identifier} has another form: {first_fault(error)}") from error


def _exact_synonyms(tags: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    matches = (_EXACT.match(value) for tag, value in tags if tag == "synonym")
    return tuple(_unescape(match[1]) for match in matches if match)


def _parents(tags: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    matches = (ONTOLOGY_ID.match(value) for tag, value in tags if tag == "is_a")
    return tuple(match[0] for match in matches if match)


def _term_stanzas(lines: Iterable[str]) -> Iterator[list[str]]:
    stanza: list[str] | None = None
    for line in (*lines, "[End]"):
        if line.startswith("["):
            if stanza is not None:
                yield stanza
            stanza = [] if line.strip() == "[Term]" else None
        elif stanza is not None:
            stanza.append(line.strip())


def _unescape(text: str) -> str:
    return _ESCAPE.sub(r"\1", text)


def _key(label: str) -> str:
    return " ".join(label.casefold().split())


def _unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for text, identifier in pairs:
        found.setdefault(_key(text), set()).add(identifier)
    return {text: next(iter(ids)) for text, ids in found.items() if len(ids) == 1}
