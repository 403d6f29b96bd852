"""The manifest of a submission: its result files, and everything needed to reproduce them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from jobs.inference.merge.calls import Vocabulary
from jobs.inference.merge.clusters import Clusters
from jobs.inference.merge.tally import most_first
from jobs.inference.outputs.consensus_facts import ConsensusFacts
from jobs.inference.outputs.model_facts import ManifestPart, ModelFacts
from shared.domain.actual import Actual
from shared.domain.plan import Plan
from shared.domain.submission import Receipt, Submission
from shared.domain.verdict import Verdict
from shared.ports.blobs import BlobInfo

SCHEMA_VERSION: Literal[1] = 1

Crc32c = Annotated[str, Field(pattern=r"^[0-9a-f]{8}$", description="Castagnoli checksum, eight hex digits.")]


class InputFacts(ManifestPart):
    """The object that was annotated, pinned by its generation."""

    bucket: str
    name: str
    generation: int
    size_bytes: int = Field(ge=0)
    crc32c: Crc32c | None = Field(description="None if the store has no checksum, as for a local inbox.")


class Choices(ManifestPart):
    """The effective options: those requested, or else the model's own."""

    requested: dict[str, str]
    top_k: int
    scores: str
    map: bool
    composition: bool = Field(default=True, description="Whether to correct scores to the sample's shares of labels.")
    pseudobulk: str = Field(default="off", description="`on`, `off`, or the obs column that tells samples apart.")
    max_error: float = Field(default=0.05, description="The share of reliable labels that may be wrong.")
    clusters: str = Field(default="off", description="How clusters are found, or the obs column that they are from.")
    samples: str | None = Field(default=None, description="The obs column that names samples.")
    min_score: float | None = Field(description="Cells with a lower best score are Unassigned; None: no cell is.")
    truth: str | None = Field(
        default=None, description="The obs column to compare with; None looks for one, `off` compares with none."
    )
    cas: bool = Field(
        default=False, description="Whether to write scores of Cell Ontology terms as Cellarium CAS does."
    )
    consensus: tuple[str, ...] = Field(
        default=(), description="The further models of a consensus, as `NAME@VERSION`, in the requested order."
    )
    orthologues: bool = Field(
        default=False, description="Whether a model of another species may be used by one-to-one orthologues."
    )


class PartFacts(ManifestPart):
    """A part that was merged."""

    name: str
    generation: int
    size_bytes: int
    crc32c: Crc32c
    first_row: int
    stop_row: int = Field(description="One past the last row.")


class FileFacts(ManifestPart):
    """A result file."""

    name: str = Field(description="Relative to the manifest.")
    size_bytes: int
    crc32c: Crc32c | None
    content_type: str
    what: str = Field(description="What it is and what reads it, in one sentence.")


class MissingFile(ManifestPart):
    """A result file that was not written, with the reason."""

    name: str
    reason: str


class ClusterFacts(ManifestPart):
    """The clusters of the cells, and how they voted."""

    column: str | None = Field(description="The obs column that they are from; None if found by expression.")
    n_clusters: int
    n_cells: int = Field(description="Cells that have a cluster.")
    n_agreeing: int = Field(
        description="Cells that agree with their cluster's label: it is their own or, if it is `Unassigned`, they are "
        "unassigned or unfamiliar."
    )
    labels: dict[str, int] = Field(description="Cells by the label of their cluster, most first.")


class ReliabilityFacts(ManifestPart):
    """From which score on a label is reliable."""

    error: float = Field(description="The share of answers that may be wrong, as requested.")
    label_score: float | None = Field(description="Least score of a label; None if no score is enough.")
    lineage_score: float | None = Field(
        description="Least score of a lineage, for cells without a reliable label; None if no score is enough."
    )
    tree_score: float | None = Field(
        description="Least score of a label or group, in place of the other two, if the model's labels have a tree."
    )
    raised: bool = Field(
        description="Whether one is higher than the model's, as by their own scores more of these cells would get a "
        "wrong answer than `error` allows."
    )
    why_none: str | None = Field(
        default=None, description="Why no label is reliable, though the model has thresholds; None if they are used."
    )


class Labels(ManifestPart):
    """The number of cells by label."""

    n_cells: int
    n_unassigned: int = Field(description="Cells without a label.")
    n_unfamiliar: int | None = Field(
        default=None, description="Cells that are unlike the model's training cells; None if the model cannot tell."
    )
    n_judged: int | None = Field(
        default=None, description="Cells of which it is known whether they are: not those whose values tell nothing."
    )
    lineages: dict[str, int] | None = Field(default=None, description="Cells by lineage, if the labels have lineages.")
    reliable: dict[str, int] | None = Field(
        default=None, description="Cells by reliable label, if it is known what is reliable."
    )
    reliability: ReliabilityFacts | None = Field(
        default=None,
        description="From which score on a label is reliable, if that is known. If a column names samples: for cells "
        "without a sample and for samples of fewer than 100 usable cells, taken together.",
    )
    reliability_by_sample: dict[str, ReliabilityFacts] | None = Field(
        default=None, description="The same for each sample, if a column names samples."
    )
    reliable_labels: dict[str, int] | None = Field(
        default=None, description="Cells of which the label itself is reliable, by label."
    )
    n_reliable_label: int | None = Field(default=None, description="Cells with a reliable label.")
    n_reliable_group: int | None = Field(
        default=None,
        description="Cells with only a reliable group of labels that is no lineage, if the model's labels have a tree.",
    )
    n_reliable_lineage: int | None = Field(default=None, description="Cells with only a reliable lineage.")
    shares: dict[str, float] | None = Field(
        default=None, description="The shares of the labels that the scores were corrected to, if they were."
    )
    shares_by_sample: dict[str, dict[str, float]] | None = Field(
        default=None, description="The same for each sample, if a column names samples."
    )
    cells_by_sample: dict[str, int] | None = Field(
        default=None, description="The cells of each sample that its shares were estimated from."
    )
    clusters: ClusterFacts | None = Field(default=None, description="The clusters, if there are any.")
    counts: dict[str, int] = Field(description="Cells by label, most first; without labels that no cell has.")


class AgreementFacts(ManifestPart):
    """How far the labels agree with the file's own, over the cells whose own label has a counterpart."""

    n_cells: int = Field(description="Cells whose own label has a counterpart in the model.")
    accuracy: float = Field(description="The share of them with that counterpart; an unassigned cell does not agree.")
    macro_f1: float = Field(description="Mean F1 over these counterparts.")
    calibration_error: float | None = Field(
        default=None, description="Expected calibration error of the best score; None for lineages."
    )


class OwnLabelFacts(ManifestPart):
    """The labels beside those that the file had already."""

    column: str = Field(description="The obs column.")
    asked: bool = Field(description="Whether the option `truth` names it; else it was recognised by its name.")
    n_cells: int = Field(description="Cells with a label in it.")
    n_names: int = Field(description="Different labels in it.")
    n_comparable: int | None = Field(
        default=None, description="Cells whose label in it has a counterpart: a label or a lineage of the model."
    )
    counterparts: dict[str, str] = Field(description="Labels in the column with the model's label of the same meaning.")
    lineages: dict[str, str] = Field(description="Labels in the column with the model's lineage of the same meaning.")
    label_agreement: AgreementFacts | None = Field(default=None, description="None if no label has a counterpart.")
    lineage_agreement: AgreementFacts | None = Field(default=None, description="None if no lineage has one.")
    n_reliable: int = Field(
        default=0, description="Cells with a reliable label whose own label has a label as its counterpart."
    )
    reliable_accuracy: float | None = Field(
        default=None, description="The share of them with that counterpart; None if there are none."
    )
    main_share: float | None = Field(
        default=None,
        description="The share of cells with the most frequent label among those of the same own label. An unassigned "
        "cell has none.",
    )
    counts: dict[str, dict[str, int]] = Field(
        description="Cells by label in the column and by celldrop's label, for the most frequent of both."
    )


class PseudobulkFacts(ManifestPart):
    """The cells that were summed in ``pseudobulk.h5ad``, and those that were left out."""

    n_groups: int = Field(description="Labels, or combinations of a label and a sample, that have cells.")
    n_cells: int = Field(description="Cells that were summed.")
    n_without_counts: int = Field(description="Cells that were left out because a value is not a whole count.")
    n_without_sample: int = Field(description="Cells that were left out because they have no sample.")


class Cost(ManifestPart):
    """Time, memory and cost of the run: the only part that differs between two runs of one request."""

    finished_at: datetime
    seconds: dict[str, float] = Field(description="Wall-clock seconds by stage; some stages run in parallel.")
    peak_rss_bytes: dict[str, int] = Field(description="Largest resident memory by process.")
    actual: Actual | None = Field(
        default=None, description="The totals, to compare with the forecast in `verdict` and the estimate in `plan`."
    )


class Manifest(ManifestPart):
    """``manifest.json``."""

    schema_version: Literal[1] = SCHEMA_VERSION
    submission_id: str
    epoch: int
    input: InputFacts
    model: ModelFacts
    options: Choices
    software: dict[str, str] = Field(
        description="Versions of celldrop, Python and the libraries that merged the parts."
    )
    devices: tuple[dict[str, str], ...] = Field(
        default=(), description="The distinct devices that computed the parts, with torch's version."
    )
    verdict: Verdict
    plan: Plan
    parts: tuple[PartFacts, ...]
    files: tuple[FileFacts, ...]
    missing: tuple[MissingFile, ...] = ()
    labels: Labels
    own_labels: OwnLabelFacts | None = Field(
        default=None, description="The labels beside those that the file had already, if it had any."
    )
    pseudobulk: PseudobulkFacts | None = Field(
        default=None, description="What was summed in `pseudobulk.h5ad`; None if there is no such file."
    )
    consensus: ConsensusFacts | None = Field(
        default=None, description="How several models agree; None if there is one only."
    )
    cost: Cost


def manifest_bytes(manifest: Manifest) -> bytes:
    """Serialise a manifest: indented JSON, fields in the order of their definition."""
    return (manifest.model_dump_json(indent=1) + "\n").encode()


def parse_manifest(data: bytes) -> Manifest:
    """Parse a manifest.

    Raises:
        pydantic.ValidationError: It is not a manifest of this schema version.
    """
    return Manifest.model_validate_json(data)


def input_facts(info: BlobInfo) -> InputFacts:
    """Describe the input from its metadata in the store."""
    ref = info.ref
    return InputFacts(
        bucket=ref.bucket,
        name=ref.name,
        generation=ref.generation,
        size_bytes=info.size_bytes,
        crc32c=_hex(info.crc32c),
    )


def cluster_facts(clusters: Clusters, vocabulary: Vocabulary) -> ClusterFacts:
    """Describe clusters and their votes."""
    cells_c, labels = clusters.cells_c, Counter[str]()
    for code, cells in zip(clusters.label_c.tolist(), cells_c.tolist(), strict=True):
        labels[vocabulary.names[code]] += cells
    return ClusterFacts(
        column=clusters.column,
        n_clusters=int((cells_c > 0).sum()),
        n_cells=int(cells_c.sum()),
        n_agreeing=int(clusters.agreeing_c.sum()),
        labels=most_first({name: cells for name, cells in labels.items() if cells}),
    )


def part_facts(receipt: Receipt) -> PartFacts:
    """Describe a part from its receipt."""
    return PartFacts(
        name=receipt.part.name,
        generation=receipt.part.generation,
        size_bytes=receipt.size_bytes,
        crc32c=f"{receipt.crc32c:08x}",
        first_row=receipt.rows.start,
        stop_row=receipt.rows.stop,
    )


def devices_of(receipts: Iterable[Receipt]) -> tuple[dict[str, str], ...]:
    """The distinct devices in the receipts, in the order of the parts."""
    found = {tuple(sorted(receipt.device.items())): dict(receipt.device) for receipt in receipts if receipt.device}
    return tuple(found.values())


def file_facts(info: BlobInfo, prefix: str, what: str) -> FileFacts:
    """Describe a result file that was written under ``prefix``."""
    return FileFacts(
        name=info.ref.name.removeprefix(prefix),
        size_bytes=info.size_bytes,
        crc32c=_hex(info.crc32c),
        content_type=info.content_type,
        what=what,
    )


def summary_of(
    record: Submission, labels: Labels, actual: Actual, consensus: ConsensusFacts | None = None
) -> Mapping[str, str | int | float | dict[str, int]]:
    """The summary for events and status, without unknown values."""
    plan = record.plan
    took = {
        "estimated_s": plan.estimated_s if plan else None,
        "actual_s": actual.seconds,
        "estimated_usd": plan.estimated_usd if plan else None,
        "actual_usd": actual.usd,
    }
    return {
        "n_cells": labels.n_cells,
        "n_unassigned": labels.n_unassigned,
        **{
            name: value
            for name in ("n_unfamiliar", "n_judged", "n_reliable_label", "n_reliable_group", "n_reliable_lineage")
            if (value := getattr(labels, name)) is not None
        },
        "model": record.model.reference if record.model else "",
        "labels": labels.counts,
        **({} if labels.reliable_labels is None else {"reliable_labels": labels.reliable_labels}),
        **{name: value for name, value in took.items() if value is not None},
        **({} if consensus is None else consensus.summary),
    }


def _hex(crc32c: int | None) -> str | None:
    return None if crc32c is None else f"{crc32c:08x}"
