"""The options that a result was made with, for its manifest."""

from __future__ import annotations

from jobs.inference.data_manager import TaskInputs
from jobs.inference.outputs.manifest import Choices


def choices_of(inputs: TaskInputs) -> Choices:
    """The effective options of a submission."""
    record, options = inputs.record, inputs.options
    return Choices(
        requested=dict(record.requested),
        top_k=options.top_k,
        scores=options.scores,
        map=options.map,
        composition=options.composition,
        pseudobulk=options.pseudobulk,
        max_error=options.max_error,
        clusters=options.clusters,
        samples=options.samples,
        min_score=inputs.min_score,
        truth=options.truth,
        cas=options.cas,
        consensus=tuple(ref.reference for ref in record.consensus),
        orthologues=options.orthologues,
    )
