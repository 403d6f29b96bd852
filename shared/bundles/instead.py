"""Names a model that may suit a file which was refused because the requested model is for another species."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from shared.bundles.card import ModelCard
from shared.domain.errors import WrongSpeciesError
from shared.domain.verdict import Verdict
from shared.domain.words import listed


def naming_models(verdict: Verdict, installed: Callable[[], Sequence[ModelCard]]) -> Verdict:
    """The verdict, whose refusals name models of the file's species, or say where to look for one.

    Args:
        installed: The cards of all models, newest versions first. Only called for a file of another species.
    """
    if verdict.genes is None or WrongSpeciesError.code not in {one.code for one in verdict.refusals}:
        return verdict
    species = verdict.genes.species
    names = list(dict.fromkeys(card.name for card in installed() if card.species is species))
    if names:
        advice = f"Installed for {species}: {listed(names)}."
    else:
        advice = f"None is installed for {species}: `celldrop models search --species {species}` finds some to add."
    findings = (
        replace(one, hint=f"{one.hint} {advice}") if one.code == WrongSpeciesError.code else one
        for one in verdict.findings
    )
    return replace(verdict, findings=tuple(findings))
