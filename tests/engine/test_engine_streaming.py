"""Batches of blocks: the same scores as block by block, in order, each once, whatever the sizes and the memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.engine.annotator import Annotator, BlockScores, CellBlock, Cells
from jobs.engine.batches import N_SETS, weight
from jobs.engine.streaming import Seeing, Stream, scored, scored_by_all, streamed
from shared.domain.errors import DeviceUnavailableError
from shared.h5ad.read.projected import ProjectedBlock
from tests.engine.blocks import block_of
from tests.engine.cards import make_card, make_tensors
from tests.engine.lanes import LateLanes, PlainLanes
from tests.engine.streams import simulated

CPU = torch.device("cpu")
Result = TypeVar("Result")
N_LABELS, N_FEATURES = 5, 30
GENES = np.arange(N_FEATURES, dtype=np.int32)


class Exact(Annotator):
    """Scores that whole numbers make: no rounding tells where in a batch a cell stands.

    torch's own functions do tell it on a CPU: the last few values of an array take another way than those before,
    and a sigmoid may differ in its last bit.
    """

    ration = 2**31
    """Values for which there is room."""
    n_scored = 0
    embedded = False
    """Whether there are coordinates beside the scores."""

    def score(self, cells: Cells) -> tuple[torch.Tensor, ...]:
        if len(cells.value) > self.ration:
            raise torch.OutOfMemoryError(f"{len(cells.value)} values, room for {self.ration}")
        lengths_n = cells.indptr.diff()
        self.n_scored += len(lengths_n)
        row_z = torch.arange(len(lengths_n)).repeat_interleave(lengths_n)
        sum_n = torch.zeros(len(lengths_n)).index_add_(0, row_z, cells.value * (cells.feature + 1))
        if cells.total_n is not None:
            sum_n += 10_000 * cells.total_n
        decision_nl = sum_n[:, None] * torch.arange(1, N_LABELS + 1)
        computed = decision_nl, decision_nl / 2**20
        if not self.embedded:
            return computed
        return *computed, (sum_n[:, None] * torch.tensor([1, 3, 7]) % 1000).short()


def annotator(ration: int = 2**31, *, as_it_is: bool = False, embedded: bool = False) -> Exact:
    card, tensors = make_card(N_LABELS, N_FEATURES), make_tensors(N_LABELS, N_FEATURES)
    made = Exact(card, tensors, GENES, CPU, as_it_is=as_it_is)
    made.ration = ration
    made.embedded = embedded
    return made


def cells_in_blocks(sizes: Sequence[int], seed: int = 0) -> list[ProjectedBlock]:
    """Blocks of so many cells, of which some have no values; one in four blocks is much denser than the rest."""
    random = np.random.default_rng(seed)
    starts = np.cumsum([0, *sizes])
    made = []
    for start, size in zip(starts, sizes, strict=False):
        mean = random.choice([0.0, 0.1, 0.3, 8.0])
        made.append(block_of(random.poisson(mean, (size, N_FEATURES)), int(start)).on(GENES))
    return made


def bytes_of(scores: Iterable[BlockScores]) -> list[tuple[object, ...]]:
    return [
        (
            block.rows,
            block.decision_nl.shape,
            block.decision_nl.tobytes(),
            block.probability_nl.tobytes(),
            None if block.facts.total_n is None else block.facts.total_n.tobytes(),
            block.facts.n_genes_n.tobytes(),
            None if block.embedding_nd is None else (block.embedding_nd.dtype, block.embedding_nd.tobytes()),
        )
        for block in scores
    ]


SIZES = st.lists(st.integers(0, 7), max_size=25)
LIMITS = st.integers(1, 800)


@settings(deadline=None, max_examples=60)
@given(SIZES, LIMITS, st.integers(0, 9), st.booleans(), st.booleans(), st.sampled_from([PlainLanes, LateLanes]))
def test_a_batch_changes_no_byte(
    sizes: list[int], limit: int, seed: int, as_it_is: bool, embedded: bool, kind: type[PlainLanes]
) -> None:
    blocks = cells_in_blocks(sizes, seed)
    one, many = (annotator(as_it_is=as_it_is, embedded=embedded) for _ in range(2))
    expected = bytes_of(map(one.annotate, blocks))
    assert bytes_of(Stream(many, kind(), limit).scores(blocks)) == expected


@settings(deadline=None, max_examples=60)
@given(SIZES, LIMITS, st.integers(0, 2**32))
def test_the_streams_of_a_gpu_wait_for_one_another_where_they_must(sizes: list[int], limit: int, seed: int) -> None:
    blocks = cells_in_blocks(sizes, seed % 10)
    expected = bytes_of(map(annotator(embedded=True).annotate, blocks))
    with simulated(seed) as lanes:
        assert bytes_of(Stream(annotator(embedded=True), lanes, limit).scores(blocks)) == expected


@settings(deadline=None, max_examples=60)
@given(SIZES, st.integers(1, 3000), st.integers(0, 9), st.integers(0, 400))
def test_out_of_memory_loses_no_cell_and_scores_none_twice(sizes: list[int], limit: int, seed: int, more: int) -> None:
    blocks = cells_in_blocks(sizes, seed)
    poor = annotator(ration=max((len(block.value) for block in blocks), default=0) + more)
    found = bytes_of(Stream(poor, PlainLanes(), limit).scores(blocks))
    assert found == bytes_of(map(annotator().annotate, blocks))
    assert poor.n_scored == sum(sizes)


@settings(deadline=None, max_examples=60)
@given(SIZES, LIMITS, st.integers(0, 9))
def test_no_more_is_read_ahead_than_the_batches_and_a_block(sizes: list[int], limit: int, seed: int) -> None:
    blocks = cells_in_blocks(sizes, seed)
    weights = {block.rows: weight(block, N_LABELS) for block in blocks}
    largest = max(weights.values(), default=0)
    ahead = 0

    def read() -> Iterator[ProjectedBlock]:
        nonlocal ahead
        for block in blocks:
            ahead += weights[block.rows]
            yield block

    for scores in Stream(annotator(), PlainLanes(), limit).scores(read()):
        assert ahead <= N_SETS * max(limit, largest) + largest
        ahead -= weights[scores.rows]
    assert ahead == 0


def test_nothing_is_read_before_scores_are_asked_for() -> None:
    def read() -> Iterator[CellBlock]:
        raise AssertionError
        yield

    scored(lambda then: map(then, read()), annotator())
    Stream(annotator(), PlainLanes(), 1).scores(read())


def test_a_batch_is_waited_for_when_two_more_are_queued() -> None:
    lanes = LateLanes()
    blocks = cells_in_blocks([2, 2, 2, 2, 2])
    assert len(list(Stream(annotator(), lanes, 1).scores(blocks))) == 5
    expected = "queue 1, queue 2, queue 3, wait 1, queue 4, wait 2, queue 5, wait 3, wait 4, wait 5"
    assert ", ".join(lanes.diary) == expected


def test_whoever_stops_early_leaves_nothing_in_flight() -> None:
    lanes = LateLanes()
    scores = Stream(annotator(), lanes, 1).scores(cells_in_blocks([2, 2, 2, 2, 2]))
    next(scores)
    scores.close()  # type: ignore[attr-defined]  # it is a generator
    assert lanes.diary == ["queue 1", "queue 2", "queue 3", "wait 1", "wait 2", "wait 3"]
    assert not lanes.late


def halves(blocks: list[ProjectedBlock], ration: int) -> PlainLanes:
    lanes = PlainLanes()
    list(Stream(annotator(ration=ration), lanes, 10**6).scores(blocks))
    return lanes


def dense(sizes: Sequence[int]) -> list[ProjectedBlock]:
    starts = np.cumsum([0, *sizes])
    return [
        block_of(np.ones((size, N_FEATURES)), int(start)).on(GENES) for start, size in zip(starts, sizes, strict=False)
    ]


def test_a_batch_without_room_is_halved_until_there_is(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        lanes = halves(dense([4] * 8), ration=2 * 4 * N_FEATURES)
    assert lanes.diary.count("release") == 2  # eight blocks, four, two
    assert lanes.queued == 4
    assert [(vars(entry)["msg"], vars(entry)["blocks"]) for entry in caplog.records] == [
        ("batch halved", 8),
        ("batch halved", 4),
    ]


def test_what_is_in_flight_is_handed_out_before_the_memory_is_let_go() -> None:
    lanes = PlainLanes()
    blocks = dense([1, 1, 6])
    annotated = annotator(ration=6 * N_FEATURES - 1)
    stream = Stream(annotated, lanes, 1)
    scores = stream.scores(blocks)
    assert [next(scores).rows, next(scores).rows] == [blocks[0].rows, blocks[1].rows]
    annotated.ration = 6 * N_FEATURES
    assert [block.rows for block in scores] == [blocks[2].rows]
    assert lanes.diary == ["queue 1", "queue 2", "wait 1", "wait 2", "release", "queue 3", "wait 3"]


def test_a_block_without_room_even_alone_is_told() -> None:
    blocks = dense([2, 2, 6])
    scores = Stream(annotator(ration=5 * N_FEATURES), PlainLanes(), 10**6).scores(blocks)
    assert [next(scores).rows for _ in range(2)] == [blocks[0].rows, blocks[1].rows]
    with pytest.raises(DeviceUnavailableError, match="too little memory for 6 cells with 180 values: 1 MB") as told:
        next(scores)
    assert told.value.code == "GPU_UNAVAILABLE"
    assert told.value.expected
    assert told.value.hint


@pytest.mark.parametrize("make", [RuntimeError, KeyboardInterrupt])
def test_any_other_fault_is_not_taken_for_a_lack_of_memory(make: Callable[[], BaseException]) -> None:
    class Faulty(Exact):
        def score(self, cells: Cells) -> tuple[torch.Tensor, torch.Tensor]:
            del cells
            raise make()

    card, tensors = make_card(N_LABELS, N_FEATURES), make_tensors(N_LABELS, N_FEATURES)
    faulty = Faulty(card, tensors, GENES, CPU)
    with pytest.raises(type(make())):
        list(Stream(faulty, PlainLanes(), 100).scores(dense([2, 2])))


def real(*, as_it_is: bool) -> Annotator:
    card, tensors = make_card(N_LABELS, N_FEATURES), make_tensors(N_LABELS, N_FEATURES)
    return Annotator(card, tensors, GENES, CPU, as_it_is=as_it_is)


@pytest.mark.parametrize("as_it_is", [False, True])
def test_a_real_model_says_the_same_of_a_batch_and_of_its_blocks(*, as_it_is: bool) -> None:
    blocks = cells_in_blocks([5, 0, 3, 7, 7, 1])
    alone = map(real(as_it_is=as_it_is).annotate, blocks)
    together = Stream(real(as_it_is=as_it_is), PlainLanes(), 300).scores(blocks)
    for one, other in zip(alone, together, strict=True):
        # A few units in the last place: see ``Exact``.
        np.testing.assert_allclose(one.decision_nl, other.decision_nl, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(one.probability_nl, other.probability_nl, rtol=1e-6, atol=0)


def test_a_cpu_scores_block_by_block() -> None:
    blocks = cells_in_blocks([3, 0, 4])
    assert bytes_of(scored(lambda then: map(then, blocks), annotator())) == bytes_of(map(annotator().annotate, blocks))


@settings(deadline=None, max_examples=40)
@given(SIZES, st.lists(st.tuples(LIMITS, st.sampled_from([PlainLanes, LateLanes])), min_size=2, max_size=4))
def test_several_models_on_one_reading_score_as_each_alone(
    sizes: list[int], streams: list[tuple[int, type[PlainLanes]]]
) -> None:
    """What one has taken and another has not is kept, however large their batches are."""
    blocks = cells_in_blocks(sizes)
    read = []

    def reading(then: Callable[[ProjectedBlock], Result], /) -> Iterator[Result]:
        for block in blocks:
            read.append(block)
            yield then(block)

    def halved(block: ProjectedBlock) -> ProjectedBlock:
        return replace(block, value=(block.value / 2).astype(np.float32))

    views: list[Callable[[ProjectedBlock], ProjectedBlock]] = [lambda block: block, halved, halved, halved]
    models = [Seeing(annotator(), view) for _, view in zip(streams, views, strict=False)]
    together = list(streamed(reading, models, [kind() for _, kind in streams], [limit for limit, _ in streams]))
    assert read == blocks, "each block is read once"
    for scores, model in zip(zip(*together, strict=True), models, strict=bool(blocks)):
        assert bytes_of(scores) == bytes_of(map(annotator().annotate, map(model.view, blocks)))


def test_several_models_on_a_cpu_score_as_each_alone() -> None:
    blocks = cells_in_blocks([3, 5, 0, 2])
    models = [Seeing(annotator(), lambda block: block), Seeing(annotator(embedded=True), lambda block: block)]
    together = scored_by_all(lambda then: map(then, blocks), models)
    for scores, model in zip(zip(*together, strict=True), models, strict=True):
        assert bytes_of(scores) == bytes_of(map(model.annotator.annotate, blocks))
