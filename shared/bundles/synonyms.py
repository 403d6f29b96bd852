"""Abbreviations and second names that cell types are written with. Only what always means the same is in the tables."""

from __future__ import annotations

import re
from collections.abc import Mapping

_WRITTEN_OUT: Mapping[str, str] = {
    "mono": "monocyte",
    "dc": "dendritic",
    "dcs": "dendritic",
    "treg": "regulatory t",
    "natural killer": "nk",
    # The symbols of the genes of surface markers (HGNC).
    "fcgr3a": "cd16",
    "ms4a1": "cd20",
    "ncam1": "cd56",
}
_REGULATORY_LAST = re.compile(r"\bt reg$")
_PHRASE = re.compile(rf"(?<![^ ])(?:{'|'.join(_WRITTEN_OUT)})(?![^ ])")
_OF_ALL: Mapping[str, frozenset[str]] = {
    "b": frozenset({"cd19", "cd20"}),
    "t": frozenset({"cd3"}),
    "nk": frozenset({"cd56"}),
}
"""By type, markers that it is defined by: to name one says no more than the type by itself."""
_ALPHA_BETA = re.compile(r"^(cd[48]) positive , alpha beta t$")
_MAY_BE_NEGATIVE = re.compile(r"\d\w*\s*[-\u2010-\u2015\u207b\u2212]")


def written_out(plain_name: str) -> str:
    """A name that ``aligning.plain`` made, without abbreviations: ``mono`` is ``monocyte``, ``fcgr3a`` is ``cd16``."""
    found = _PHRASE.sub(lambda phrase: _WRITTEN_OUT[phrase[0]], plain_name)
    return _REGULATORY_LAST.sub("regulatory t", found)


def without_defining_marker(written: str) -> str:
    """``cd19 b`` is ``b``. One marker and the type, nothing else: ``cd19 cd27 b`` is more than the type."""
    match written.split(" "):
        case [marker, cell_type] if marker in _OF_ALL.get(cell_type, ()):
            return cell_type
    return written


def without_receptor(written: str) -> str:
    """``cd8 positive , alpha beta t``, as the Cell Ontology says, is ``cd8 t``, as people say."""
    return _ALPHA_BETA.sub(r"\1 t", written)


def may_be_negative(name: str) -> bool:
    """Whether a dash follows a marker, so that it may be one that the cells lack."""
    return bool(_MAY_BE_NEGATIVE.search(name))
