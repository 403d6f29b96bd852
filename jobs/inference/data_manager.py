"""Everything that a task reads and writes: the pinned input and model, its part, the result files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import google_crc32c

from jobs.inference.parts.others import OtherLayout
from jobs.inference.parts.part import CONTENT_TYPE, PartLayout
from shared.bundles.card import ModelCard
from shared.bundles.reading import read_bundle
from shared.domain.errors import BlobNotFoundError, InputChangedError
from shared.domain.options import OFF, ON, Options, Scores, parse_options
from shared.domain.submission import ModelRef, Submission
from shared.domain.verdict import MatrixEncoding
from shared.h5ad.facts import GroupingFacts
from shared.h5ad.source import NEWER_FILE, BlobSource, OpenedSource, RangeSource
from shared.ports.blobs import BlobInfo, BlobStore, ByteRange

DIMENSIONS = 20
"""Coordinates of each cell's embedding."""
AUTO_CELLS = 1_000_000
"""The most cells that are embedded without a request."""
_CRC_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class OpenedInput:
    """A submission's file at its pinned generation: its metadata and its bytes.

    Attributes:
        groupings: The obs columns that a merge can read as groups of cells, and those that it cannot.
    """

    info: BlobInfo
    source: RangeSource
    groupings: tuple[GroupingFacts, ...] = ()


@dataclass(slots=True)
class StoredWeights:
    """The bytes of a bundle's safetensors file until they are taken, as those of a large reference fill memory."""

    data: bytes

    def take(self) -> bytes:
        """The bytes, which whoever takes them holds alone."""
        data, self.data = self.data, b""
        return data


@dataclass(frozen=True, slots=True)
class TaskInputs:
    """Everything that one task works with: the record, the options, the model and the opened file.

    Attributes:
        weights: The bundle's safetensors file. A task drops its bytes once they are parsed or not needed.
        info: The file's metadata in the store.
        source: The file's bytes.
        groupings: As in ``OpenedInput``.
        others: The same for each further model of a consensus.
    """

    record: Submission
    options: Options
    card: ModelCard
    weights: StoredWeights
    info: BlobInfo
    source: RangeSource
    groupings: tuple[GroupingFacts, ...] = ()
    others: tuple[TaskInputs, ...] = ()

    @property
    def min_score(self) -> float | None:
        """The threshold in force: the requested one, or else the model's own."""
        return self.card.min_score if self.options.min_score is None else self.options.min_score

    @property
    def layout(self) -> PartLayout:
        """The columns of every part of this submission."""
        assert self.record.plan is not None
        full = self.options.scores is Scores.FULL or self.options.cas or self.card.needs_all_scores
        dimensions = DIMENSIONS if is_embedded(self.record, self.options.clusters) else 0
        n_labels, n_features = len(self.card.labels), len(self.card.features)
        others = tuple(OtherLayout(len(one.card.labels), one.card.needs_all_scores) for one in self.others)
        return PartLayout(self.record.plan.n_cells, n_labels, self.options.top_k, full, dimensions, n_features, others)

    def drop_weights(self) -> None:
        """Forget the weights of all models, once they are parsed or not needed."""
        for one in (self, *self.others):
            one.weights.take()


def is_embedded(record: Submission, clusters: str) -> bool:
    """Whether the cells of a submission are embedded by their expression.

    Unless it is asked for, not for many cells, and not for a matrix stored by columns, which would be read twice.

    Args:
        clusters: The option of that name.
    """
    choice = record.verdict.matrix if record.verdict else None
    if clusters in {ON, OFF} or choice is None or record.plan is None:
        return clusters == ON
    return record.plan.n_cells <= AUTO_CELLS and choice.encoding is not MatrixEncoding.CSC


@dataclass(frozen=True, slots=True)
class InferenceData:
    """The objects that the computation reads and writes."""

    blobs: BlobStore
    work_bucket: str
    results_bucket: str

    def open_input(self, record: Submission) -> OpenedInput:
        """Open the input at its pinned generation.

        Raises:
            InputChangedError: The pinned generation is gone.
        """
        info = self._pinned(record)
        # Head and tail are fetched once: the file is opened four times, for inspection, genes, matrix and cell ids.
        return OpenedInput(info, OpenedSource.of(BlobSource(self.blobs, record.source, info.size_bytes)))

    def open_inputs(self, record: Submission, opened: OpenedInput) -> TaskInputs:
        """Add the options and the model, at its pinned digest, to an opened input.

        Raises:
            InvalidBundleError: The bundle is not the one that was pinned.
        """
        alone = replace(record, consensus=())
        others = [self.open_inputs(_for_other(alone, *numbered), opened) for numbered in enumerate(record.consensus)]
        assert record.model is not None
        model = record.model
        card, weights = read_bundle(self.blobs, model.bucket, model.prefix, model.digest)
        options = parse_options(record.requested)
        return TaskInputs(
            record, options, card, StoredWeights(weights), opened.info, opened.source, opened.groupings, tuple(others)
        )

    def _pinned(self, record: Submission) -> BlobInfo:
        ref = record.source
        try:
            info = self.blobs.stat(ref.bucket, ref.name)
        except BlobNotFoundError as error:
            raise _changed(record, "the object is gone") from error
        if info.ref != ref:
            raise _changed(record, "the object was replaced")
        return info

    def write_part(self, name: str, chunks: Iterable[bytes]) -> BlobInfo:
        """Write a part, create-only.

        Raises:
            PreconditionFailedError: A part of that name exists.
        """
        return self.blobs.write(self.work_bucket, name, chunks, if_generation=0, content_type=CONTENT_TYPE)

    def write_result(self, name: str, chunks: Iterable[bytes], content_type: str) -> BlobInfo:
        """Write a result file, create-only. It counts as a result only once its prefix is committed."""
        return self.blobs.write(self.results_bucket, name, chunks, if_generation=0, content_type=content_type)

    def discard(self, prefix: str) -> None:
        """Delete everything under a prefix of the results bucket that was never committed."""
        for info in list(self.blobs.list(self.results_bucket, prefix)):
            self.blobs.delete(self.results_bucket, info.ref.name, if_generation=info.ref.generation)


def input_crc32c(inputs: TaskInputs, beat: Callable[[], None]) -> int:
    """The input's CRC32C: from the store, or else computed by reading the whole file once."""
    if inputs.info.crc32c is not None:
        return inputs.info.crc32c
    return crc32c_of(inputs.source, beat)


def crc32c_of(source: RangeSource, beat: Callable[[], None] = lambda: None) -> int:
    """The CRC32C of a file, which is read once."""
    checksum = 0
    for offset in range(0, source.size_bytes, _CRC_BYTES):
        beat()
        chunk = source.read(ByteRange(offset, min(_CRC_BYTES, source.size_bytes - offset)))
        checksum = google_crc32c.extend(checksum, chunk)
    return checksum


def _for_other(record: Submission, place: int, model: ModelRef) -> Submission:
    """The record as if it were of a further model alone."""
    assert record.verdict is not None
    return replace(record, model=model, verdict=record.verdict.of_other(place))


def _changed(record: Submission, found: str) -> InputChangedError:
    where = str(record.source)
    return InputChangedError(found, expected="the generation that was accepted", where=where, hint=NEWER_FILE)
