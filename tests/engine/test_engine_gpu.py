"""What only a GPU can show: the stream against the CPU, its waits, its memory."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator

import numpy as np
import pytest
import torch

from jobs.engine.annotator import Annotator, BlockScores, CellBlock
from jobs.engine.batches import device_bytes, weight
from jobs.engine.lanes import Completion, CudaLanes, Work
from jobs.engine.streaming import Seeing, Stream, scored, scored_by_all
from shared.domain.geometry import Rows
from shared.h5ad.read.projected import ProjectedBlock
from tests.engine.blocks import block_of
from tests.engine.cards import make_card, make_tensors

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

N_LABELS, N_FEATURES = 40, 3_000
GENES = np.arange(N_FEATURES, dtype=np.int32)
ALL = 10**9
"""A limit that puts all blocks into one batch."""
SCALES = pytest.mark.parametrize("scale", [0.001, 20.0], ids=["float32", "float64"])


def annotator(kind: str, scale: float) -> Annotator:
    card, tensors = make_card(N_LABELS, N_FEATURES), make_tensors(N_LABELS, N_FEATURES, scale=scale)
    return Annotator(card, tensors, GENES, torch.device(kind))


@pytest.fixture(scope="module")
def blocks() -> list[ProjectedBlock]:
    """Ten blocks: one without a cell, one whose cells have no values."""
    random = np.random.default_rng(7)
    made = []
    for number, rows in enumerate(part for part in Rows(0, 9 * 256).blocks()):
        rate = 0.0 if number == 4 else random.gamma(0.2, 2.0, (256, N_FEATURES))
        made.append(block_of(random.poisson(rate, (256, N_FEATURES)), rows.start).on(GENES))
    return [*made[:3], block_of(np.zeros((0, N_FEATURES)), 3 * 256).on(GENES), *made[3:]]


def streamed(blocks: Iterable[CellBlock], on: Annotator, limit: int) -> Iterator[BlockScores]:
    return Stream(on, CudaLanes(on.device), limit).scores(blocks)


@SCALES
def test_a_gpu_says_of_batches_what_the_cpu_says_of_blocks(blocks: list[ProjectedBlock], scale: float) -> None:
    alone = map(annotator("cpu", scale).annotate, blocks)
    for one, other in zip(alone, scored(lambda then: map(then, blocks), annotator("cuda", scale)), strict=True):
        assert one.rows == other.rows
        assert one.decision_nl.argmax(axis=1).tolist() == other.decision_nl.argmax(axis=1).tolist()
        np.testing.assert_allclose(one.probability_nl, other.probability_nl, rtol=0, atol=1e-5)


def test_several_models_on_one_reading_say_on_a_gpu_what_each_says_alone(blocks: list[ProjectedBlock]) -> None:
    models = [Seeing(annotator("cuda", scale), lambda block: block) for scale in (0.1, 1.0)]
    together = zip(*scored_by_all(lambda then: map(then, blocks), models), strict=True)
    for found, model in zip(together, models, strict=True):
        for one, other in zip(found, scored(lambda then: map(then, blocks), model.annotator), strict=True):
            assert one.rows == other.rows
            assert one.probability_nl.tobytes() == other.probability_nl.tobytes()


@SCALES
def test_a_batch_changes_no_byte_on_a_gpu(blocks: list[ProjectedBlock], scale: float) -> None:
    on = annotator("cuda", scale)
    alone = list(streamed(blocks, on, 1))
    for limit in (3 * weight(blocks[0], N_LABELS), ALL):
        for one, other in zip(alone, streamed(blocks, on, limit), strict=True):
            assert one.decision_nl.tobytes() == other.decision_nl.tobytes()
            assert one.probability_nl.tobytes() == other.probability_nl.tobytes()


class Watched(CudaLanes):
    """Does not let the host wait for the device while a batch is queued."""

    def queue(self, work: Work) -> Completion:
        with warnings.catch_warnings(category=UserWarning, action="ignore"):  # Setting it warns of what it cannot see.
            torch.cuda.set_sync_debug_mode("error")
        try:
            return super().queue(work)
        finally:
            torch.cuda.set_sync_debug_mode("default")


@SCALES
def test_nothing_waits_while_a_batch_is_queued(blocks: list[ProjectedBlock], scale: float) -> None:
    on = annotator("cuda", scale)
    watched = Stream(on, Watched(on.device), weight(blocks[0], N_LABELS))
    assert [scores.rows for scores in watched.scores(blocks)] == [block.rows for block in blocks]


@pytest.fixture
def small_memory() -> Iterator[None]:
    """Room for 150 MB more than is in use."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 150e6) / total)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.usefixtures("small_memory")
def test_a_batch_that_is_too_large_is_halved_and_nothing_is_lost(
    blocks: list[ProjectedBlock], caplog: pytest.LogCaptureFixture
) -> None:
    on = annotator("cuda", 20.0)
    many = [block for _ in range(8) for block in blocks]
    assert sum(weight(block, N_LABELS) for block in many) * (device_bytes(on.value_bytes) - 48) > 300e6
    with caplog.at_level(logging.WARNING):
        found = [scores.decision_nl.tobytes() for scores in streamed(many, on, ALL)]
    assert "batch halved" in caplog.messages
    assert found == [scores.decision_nl.tobytes() for scores in streamed(many, on, 1)]


@SCALES
def test_a_batch_takes_no_more_memory_than_is_reckoned(blocks: list[ProjectedBlock], scale: float) -> None:
    on = annotator("cuda", scale)
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    many = [block for _ in range(4) for block in blocks]
    limit = sum(weight(block, N_LABELS) for block in blocks)
    assert len(list(streamed(many, on, limit))) == len(many)
    assert torch.cuda.max_memory_allocated() - before <= limit * device_bytes(on.value_bytes)
