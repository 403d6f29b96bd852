"""The result files that need only the parts and the model: each is streamed by a function of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from jobs.engine.terms import TermScorer
from jobs.inference.data_manager import TaskInputs
from jobs.inference.merge.groups import Merge
from jobs.inference.merge.term_scores import TermMerge
from jobs.inference.outputs.annotation_files import annotations_csv, scores_parquet
from jobs.inference.outputs.cas_files import (
    Provenance,
    inferred_labels,
    metadata,
    ontology_resource,
    ontology_response,
)
from shared.domain.outputs import (
    ANNOTATIONS_CSV,
    CAS_METADATA,
    INFERRED_LABELS,
    ONTOLOGY_RESOURCE,
    ONTOLOGY_RESPONSE,
    SCORES_PARQUET,
    Output,
)
from shared.domain.submission import ObjectRef
from shared.wiring.folders import FILES_BUCKET


@dataclass(frozen=True, slots=True)
class Table:
    """What a file is made from.

    Attributes:
        about: The metadata of the file.
    """

    merge: Merge
    inputs: TaskInputs
    about: Mapping[str, str]

    @property
    def terms(self) -> TermMerge:
        """The scores of Cell Ontology terms."""
        return terms_of(self.merge, self.inputs)

    @property
    def provenance(self) -> Provenance:
        """Which file they are about."""
        return Provenance(path_of(self.inputs.record.source), self.merge.layout.n_cells)


TABLES: Mapping[Output, Callable[[Table], Iterator[bytes]]] = {
    ANNOTATIONS_CSV: lambda table: annotations_csv(table.merge.tables()),
    SCORES_PARQUET: lambda table: scores_parquet(table.merge, table.about),
    ONTOLOGY_RESPONSE: lambda table: ontology_response(table.terms),
    ONTOLOGY_RESOURCE: lambda table: ontology_resource(table.terms),
    INFERRED_LABELS: lambda table: inferred_labels(table.terms),
    CAS_METADATA: lambda table: metadata(table.terms, table.provenance),
}


def terms_of(merge: Merge, inputs: TaskInputs) -> TermMerge:
    """The scores of Cell Ontology terms of a merge, for a model that has some."""
    return TermMerge(merge, TermScorer.of(inputs.card), inputs.card.reference)


def path_of(source: ObjectRef) -> str:
    """The path of a file of this machine, or bucket and name of an object."""
    return f"/{source.name}" if source.bucket == FILES_BUCKET else f"{source.bucket}/{source.name}"
