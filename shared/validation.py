"""Validation of one object of a store: the file is opened by ranged reads, inspected, and judged for a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.bundles.card import ModelCard
from shared.domain.errors import (
    BlobNotFoundError,
    InputChangedError,
    InputNotFoundError,
    InputTooLargeError,
    NoTermsError,
)
from shared.domain.options import Options
from shared.domain.submission import ObjectRef
from shared.domain.verdict import Verdict
from shared.h5ad.judge.judging import validate
from shared.h5ad.judge.needs import ModelNeeds
from shared.h5ad.source import NEWER_FILE, BlobSource
from shared.ports.blobs import BlobInfo, BlobStore
from shared.settings import Settings

_NAMED = 3
_SMALLER = "Split the file, or ask whoever runs this pipeline to raise"


@dataclass(frozen=True, slots=True)
class Validator:
    """The expensive part of ingest: inspects the file with ranged reads, and judges whether it suits a model."""

    blobs: BlobStore
    max_bytes: int
    max_cells: int

    @classmethod
    def of(cls, blobs: BlobStore, settings: Settings) -> Validator:
        """With the limits of a deployment."""
        return cls(blobs, max_bytes=settings.max_input_bytes, max_cells=settings.max_cells)

    def __call__(
        self, source: ObjectRef, card: ModelCard | None, options: Options, others: Sequence[ModelCard] = ()
    ) -> Verdict:
        """Validate one object generation, with or without a model.

        Args:
            others: The further models of a consensus.

        Raises:
            InputError: The object is gone, was replaced, or exceeds a limit of this deployment.
            NoTermsError: Scores of terms are requested, and the model has no terms.
        """
        if options.cas and card is not None:
            _check_terms(card)
        info = pinned(self.blobs, source)
        if info.size_bytes > self.max_bytes:
            raise InputTooLargeError(
                f"{info.size_bytes:,} bytes",
                expected=f"at most {self.max_bytes:,}",
                where=source.name,
                hint=f"{_SMALLER} CELLDROP_MAX_INPUT_BYTES.",
            )
        opened = BlobSource(self.blobs, source, info.size_bytes)
        needs = needs_of(card, others, orthologues=options.orthologues) if card else None
        verdict = validate(opened, needs, matrix=options.matrix, columns=options.columns, name=source.name)
        if verdict.n_cells > self.max_cells:
            raise InputTooLargeError(
                f"{verdict.n_cells:,} cells",
                expected=f"at most {self.max_cells:,}",
                where=source.name,
                hint=f"{_SMALLER} CELLDROP_MAX_CELLS.",
            )
        return verdict


def pinned(blobs: BlobStore, source: ObjectRef) -> BlobInfo:
    """Stat the object, and check that its newest generation is still the pinned one.

    Raises:
        InputNotFoundError: There is no such object.
        InputChangedError: It was replaced. The newer generation gets its own event.
    """
    try:
        info = blobs.stat(source.bucket, source.name)
    except BlobNotFoundError as error:
        raise InputNotFoundError(
            "the object does not exist", where=f"{source.bucket}/{source.name}", hint="Upload the file again."
        ) from error
    if info.ref.generation != source.generation:
        raise InputChangedError("the object was replaced before it was read", where=str(source), hint=NEWER_FILE)
    return info


def _check_terms(card: ModelCard) -> None:
    if not card.has_terms:
        names = ", ".join(repr(label.name) for label in card.labels[:_NAMED])
        raise NoTermsError(
            f"no label of the model is a term of the Cell Ontology, such as {names}",
            expected="labels with Cell Ontology ids for the option cas=on",
            where=card.reference,
            hint="Leave the option cas out, name another model, or make this one again with "
            "`celldrop models train ... --ontology cl.obo` (or `celldrop models import`): they name the terms that are "
            "nearest to labels without one.",
        )


def needs_of(card: ModelCard, others: Sequence[ModelCard] = (), *, orthologues: bool = False) -> ModelNeeds:
    """What a model requires of a file, and the further models of a consensus.

    Args:
        orthologues: As the option of this name.
    """
    return ModelNeeds(
        card.features,
        card.species,
        card.default_overlap,
        reference=card.reference,
        counts=card.needs_counts,
        others=tuple(needs_of(other, orthologues=orthologues) for other in others),
        orthologues=orthologues,
        is_imported=card.is_imported,
        watched=card.watched,
    )
