"""What the manifest says of a consensus."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from jobs.engine.consensus import Relation
from jobs.inference.merge.disagreements import Disagreements
from jobs.inference.outputs.model_facts import ManifestPart, ModelFacts, model_facts
from shared.bundles.card import UNASSIGNED, ModelCard
from shared.bundles.common_sources import common_sources
from shared.domain.submission import ModelRef


class CommonSourceFacts(ManifestPart):
    """A source of training data that several of the models name."""

    models: tuple[str, ...] = Field(description="As `NAME@VERSION`.")
    source: str = Field(description="A file, or a publication by its DOI.")


class ConsensusFacts(ManifestPart):
    """How several models agree on the cells, by their reliable labels (``jobs.inference.merge.consensus.Ballot``)."""

    models: tuple[ModelFacts, ...] = Field(description="The model itself, then the further ones: model 1, 2 and so on.")
    n_same: int = Field(description="Cells for which all models have the same reliable label.")
    n_wider: int = Field(
        description="Cells for which these differ only in how specific they are: one of any two is a kind of the other."
    )
    n_different: int = Field(description="Cells for which two of these are known to be different types.")
    n_not_comparable: int = Field(
        description="Other cells, for which two of these are such that no model's card relates them or says that they "
        "differ."
    )
    n_unsaid: int = Field(
        description="Of the other cells, those for which some model has none, or that are unfamiliar to it."
    )
    counts: dict[str, int] = Field(description="Cells by consensus, most first.")
    disputed: dict[str, int] = Field(
        description="Cells of which another model contradicts the model itself, by the label of the model itself, most "
        "first; without labels that no such cell has."
    )
    common_sources: tuple[CommonSourceFacts, ...] = Field(
        default=(), description="Training data that several models share, as far as their cards tell."
    )

    @property
    def summary(self) -> dict[str, str | int | dict[str, int]]:
        """The part of a result's summary that is about the consensus."""
        shared = "; ".join(f"{', '.join(common.models)} ({common.source})" for common in self.common_sources)
        return {
            "consensus_models": ", ".join(f"{model.name}@{model.version}" for model in self.models),
            "n_same_label": self.n_same,
            "n_wider_label": self.n_wider,
            "n_different_label": self.n_different,
            "n_not_comparable": self.n_not_comparable,
            "n_no_consensus": self.counts.get(UNASSIGNED, 0),
            "consensus_labels": self.counts,
            **({"consensus_common_sources": shared} if shared else {}),
        }


def consensus_facts(
    found: Disagreements | None, cards: Sequence[ModelCard], refs: Sequence[ModelRef]
) -> ConsensusFacts | None:
    """The facts of a consensus; None if there is none.

    Args:
        cards: Those of all models, the main model's first; likewise ``refs``.
    """
    if found is None:
        return None
    n_cells = found.relation_r.tolist()
    return ConsensusFacts(
        models=tuple(model_facts(*pair) for pair in zip(cards, refs, strict=True)),
        n_same=n_cells[Relation.SAME],
        n_wider=n_cells[Relation.WIDER],
        n_different=n_cells[Relation.DIFFERENT],
        n_not_comparable=n_cells[Relation.NOT_COMPARABLE],
        n_unsaid=n_cells[Relation.UNSAID],
        counts=found.consensus_counts,
        disputed=found.disputed,
        common_sources=tuple(
            CommonSourceFacts(models=common.models, source=common.source) for common in common_sources(cards)
        ),
    )
