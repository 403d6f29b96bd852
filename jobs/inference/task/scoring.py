"""Scores rows of a file into a part. Importing this module loads torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import numpy as np
import torch

from jobs.engine.annotator import Annotator, BlockScores
from jobs.engine.device import one_thread
from jobs.engine.embedding import learn, sampled_ranges
from jobs.engine.facts import CellFacts
from jobs.engine.sampling import SampledCells, every
from jobs.engine.streaming import Seeing, scored_by_all
from jobs.inference.data_manager import InferenceData, TaskInputs
from jobs.inference.parts.others import OtherScores
from jobs.inference.parts.part import AnnotatedBlock, iter_part
from jobs.inference.process.memory import give_back
from jobs.inference.task.mitochondria import Mitochondria
from jobs.inference.task.models import parse_weights
from shared.domain.errors import InternalError
from shared.domain.geometry import Rows
from shared.domain.verdict import CellNote, GeneSpace, MatrixChoice, MatrixEncoding, MatrixState
from shared.h5ad.names.matching import GeneNames
from shared.h5ad.read.csc import BAND_VALUES
from shared.h5ad.read.rows import (
    CellIds,
    MatrixReader,
    ProjectedBlock,
    features_among,
    open_cell_ids,
    open_matrix,
    read_gene_names,
)
from shared.h5ad.read.views import Views
from shared.ports.blobs import BlobInfo

Int32s = np.ndarray[tuple[int], np.dtype[np.int32]]
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Scored:
    """A written part.

    Attributes:
        n_converted: Cells with values of another kind than the rest, which were converted.
        n_unclear: Cells with values of another, unknown kind, which were not converted.
        n_silent: Cells without a value of any of the model's genes.
        coverage: See ``Receipt``.
    """

    info: BlobInfo
    n_converted: int
    n_unclear: int
    n_silent: int
    coverage: tuple[float | None, ...]


class Progress(Protocol):
    """Who is told how a task gets on."""

    def done(self, rows: int) -> None:
        """So many rows are done."""

    def sign(self) -> None:
        """Give a sign of life, from any thread."""


def write_scores(
    data: InferenceData,
    inputs: TaskInputs,
    rows: Rows,
    part_name: str,
    device: torch.device,
    progress: Progress,
) -> Scored:
    """Score the cells of ``rows`` into a part.

    Memory is bounded by the reader's window and the scores of one block, or by the batches of a GPU.

    Args:
        progress: Told often.
    """
    beat = progress.done
    known = _GeneNames()
    features, names = known.features(inputs)
    others = [known.features(other)[0] for other in inputs.others]
    genes = names_of_features(features, names, len(inputs.card.features))
    annotator = _annotator(inputs, features, device)
    seeing = [_annotator(other, found, device) for other, found in zip(inputs.others, others, strict=True)]
    for one in (annotator, *seeing):
        one.give_signs(progress.sign)
    source = inputs.source
    give_back()
    choice = matrix_of(inputs)
    counted = choice.state is MatrixState.COUNTS
    mitochondria = Mitochondria.among(names.ids, features) if counted else None
    del known, names
    tally = Counter[int]()
    with one_thread(), open_matrix(source, choice) as matrix, open_cell_ids(source) as cells:
        if inputs.layout.dimensions:
            sample = _sample(matrix, features, annotator, lambda: beat(0), at_once=_is_read_at_once(choice))
            annotator.projection = learn(sample, annotator.n_features, inputs.layout.dimensions).to(device)
            del sample
            give_back()
        sampler = _Sampler(annotator, inputs.layout.map_stride, genes)
        look = _Look(sampler, mitochondria)
        views = Views.of([look.features(features), *others], as_it_is=choice.as_it_is) if others else None
        reading = _Reading(matrix, rows, look.features(features) if views is None else views.known_of_gene, beat)
        models = _seeing(annotator, seeing, look, views)
        blocks = _blocks(scored_by_all(reading, models), cells, reading, look, counted=counted)
        info = data.write_part(part_name, iter_part(_tallied(blocks, tally), inputs.layout))
    coverage = tuple(one.coverage for one in (annotator, *seeing))
    return Scored(info, tally[CellNote.CONVERTED], tally[CellNote.UNCLEAR], tally[CellNote.SILENT], coverage)


@dataclass(frozen=True, slots=True)
class _Sampler:
    """Keeps the expression of the sampled cells of each block until its scores are there.

    Attributes:
        genes: The file's name of each of the model's features; None for a feature that it lacks.
    """

    annotator: Annotator
    stride: int
    genes: tuple[str | None, ...]
    cells: dict[int, SampledCells] = field(default_factory=dict)

    def look(self, block: ProjectedBlock) -> ProjectedBlock:
        """Look at a block, in the thread that read it."""
        place_m = every(self.stride, block.rows.start, len(block.rows))
        self.cells[block.rows.start] = self.annotator.sampled(block, place_m)
        return block


@dataclass(frozen=True, slots=True)
class _Look:
    """What is taken of each block as the model itself sees it."""

    sampler: _Sampler
    mitochondria: Mitochondria | None

    def features(self, features: Int32s) -> Int32s:
        """The features of the genes, mitochondrial genes that the model does not know included."""
        return features if self.mitochondria is None else self.mitochondria.feature_g

    def __call__(self, block: ProjectedBlock) -> ProjectedBlock:
        return self.sampler.look(block if self.mitochondria is None else self.mitochondria.look(block))

    def facts(self, scores: BlockScores, *, counted: bool) -> CellFacts:
        """The facts of a block's cells, with those that were taken as it was read."""
        mito_n = None if self.mitochondria is None else self.mitochondria.share_of.pop(scores.rows.start)
        facts = scores.facts if counted else replace(scores.facts, total_n=None)
        return replace(facts, mito_n=mito_n)


@dataclass(slots=True)
class _Reading:
    """Reads a task's blocks, with a sign of life for each, because a GPU gets several before the first scores."""

    matrix: MatrixReader
    rows: Rows
    features: Int32s
    beat: Callable[[int], None]
    done: int = 0

    def __call__(self, then: Callable[[ProjectedBlock], Made], /) -> Iterator[Made]:
        for result in self.matrix.projected(self.rows, self.features, then):
            self.beat(self.done)
            yield result

    def scored(self, rows: Rows) -> None:
        """Count rows as done."""
        self.done = rows.stop - self.rows.start
        self.beat(self.done)


def _annotator(inputs: TaskInputs, features: Int32s, device: torch.device) -> Annotator:
    choice = matrix_of(inputs)
    weights = parse_weights(inputs.weights.take(), where=inputs.card.reference)
    counted = choice.state is MatrixState.COUNTS
    return Annotator(inputs.card, weights, features, device, as_it_is=choice.as_it_is, counted=counted)


def _seeing(
    annotator: Annotator, others: Sequence[Annotator], look: _Look, views: Views | None
) -> list[Seeing[ProjectedBlock]]:
    """The model itself and the others, each with its view of the blocks."""
    if views is None:
        return [Seeing(annotator, look)]
    own, *theirs = views.views
    return [
        Seeing(annotator, lambda block: look(own.of(block))),
        *(Seeing(other, view.of) for other, view in zip(others, theirs, strict=True)),
    ]


def _is_read_at_once(choice: MatrixChoice) -> bool:
    """Whether reading all rows of a matrix takes less time than the sampled ranges.

    Of a matrix stored by columns, every range of rows needs all of it, and so does every band of ``BAND_VALUES``.
    """
    ranges = len(sampled_ranges(choice.n_cells))
    return choice.encoding is MatrixEncoding.CSC and choice.nnz <= ranges * BAND_VALUES


def _sample(
    matrix: MatrixReader, features: Int32s, annotator: Annotator, beat: Callable[[], None], *, at_once: bool
) -> list[SampledCells]:
    """The expression of the cells that the embedding is learned from, the same in every task.

    Args:
        at_once: Whether to read all rows instead of each range.
    """
    ranges = {rows.start: rows for rows in sampled_ranges(matrix.n_cells)}
    read = (Rows(0, matrix.n_cells),) if at_once else ranges.values()

    def sampled(block: ProjectedBlock) -> SampledCells | None:
        chosen = ranges.get(block.rows.start)
        return annotator.sampled(block, np.arange(len(chosen))) if chosen else None

    found = []
    for rows in read:
        found += [one for one in matrix.projected(rows, features, sampled) if one is not None]
        beat()
    return found


def _blocks(
    scored: Iterator[tuple[BlockScores, ...]], cells: CellIds, reading: _Reading, look: _Look, *, counted: bool
) -> Iterator[AnnotatedBlock]:
    for scores, *others in scored:
        yield AnnotatedBlock(
            rows=scores.rows,
            cell_ids=cells.ids(scores.rows),
            probability_nl=scores.probability_nl,
            decision_nl=scores.decision_nl,
            facts=look.facts(scores, counted=counted),
            embedding_nd=scores.embedding_nd,
            sampled=look.sampler.cells.pop(scores.rows.start),
            genes=None if scores.rows.start else look.sampler.genes,
            others=tuple(_kept(one) for one in others),
        )
        reading.scored(scores.rows)


def _kept(scores: BlockScores) -> OtherScores:
    facts = scores.facts
    return OtherScores(scores.probability_nl, scores.decision_nl, facts.note_n, facts.unfamiliarity_n)


def _tallied(blocks: Iterator[AnnotatedBlock], tally: Counter[int]) -> Iterator[AnnotatedBlock]:
    """Pass blocks through, and count the notes of their cells."""
    for block in blocks:
        if block.facts.note_n.any():
            tally.update(block.facts.note_n.tolist())
        yield block


@dataclass(slots=True)
class _GeneNames:
    """The names of the file's genes, which are read once for all models that find their genes by the same columns."""

    known: dict[GeneSpace, GeneNames] = field(default_factory=dict)

    def features(self, inputs: TaskInputs) -> tuple[Int32s, GeneNames]:
        """For the genes of the chosen matrix, the position of each among the card's genes, or -1; and their names."""
        verdict, card = inputs.record.verdict, inputs.card
        if verdict is None or verdict.genes is None:
            raise InternalError("a submission without a gene space was dispatched", expected="an accepted verdict")
        names = self.known.get(verdict.genes)
        if names is None:
            names = self.known[verdict.genes] = read_gene_names(inputs.source, verdict)
        return features_among(names, card, verdict.genes.foreign), names


def names_of_features(found_g: Int32s, names: GeneNames, n_features: int) -> tuple[str | None, ...]:
    """The file's name of each feature: that of the first of its genes; None if the file lacks it."""
    feature, first = np.unique(found_g, return_index=True)
    named: dict[int, str] = {f: names.ids[g] for f, g in zip(feature.tolist(), first.tolist(), strict=True)}
    return tuple(named.get(f) for f in range(n_features))


def matrix_of(inputs: TaskInputs) -> MatrixChoice:
    """The matrix chosen by the verdict."""
    verdict = inputs.record.verdict
    if verdict is None or verdict.matrix is None:
        raise InternalError("a submission without a matrix was dispatched", expected="an accepted verdict")
    return verdict.matrix
