"""What a submission costs in units of the platforms grows as docs/explanation/scale.md says."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.operations import count, fits, markdown

pytestmark = pytest.mark.xdist_group("scale-operations")  # What its tests share is made once.


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    logging.disable(logging.WARNING)
    yield count(tmp_path_factory.mktemp("operations"), [1_000, 2_000], [1, 2, 4], per_cell=32, n_genes=1_000)
    logging.disable(logging.NOTSET)


@pytest.mark.slow
def test_firestore_reads_grow_with_the_square_of_the_tasks_and_writes_with_the_tasks(told: dict[str, Any]) -> None:
    for run in told["whole"]:
        n = run["tasks"]
        assert (run["reads"], run["writes"]) == (11 + 6 * n + n * n, 13 + 2 * n)


@pytest.mark.slow
def test_the_one_document_that_all_tasks_share_is_written_as_often_whatever_their_number(told: dict[str, Any]) -> None:
    assert {run["record_writes"] for run in told["whole"]} == {8}


@pytest.mark.slow
def test_a_record_does_not_grow_with_its_tasks(told: dict[str, Any]) -> None:
    for n_cells in (1_000, 2_000):
        sizes = {run["record_bytes"] for run in told["whole"] if run["cells"] == n_cells}
        assert max(sizes) - min(sizes) < 50


@pytest.mark.slow
def test_objects_are_written_and_removed_one_a_task(told: dict[str, Any]) -> None:
    for run in told["whole"]:
        assert (run["class_a"], run["deletes"], run["messages"], run["calls"]) == (
            10 + run["tasks"],
            run["tasks"],
            3,
            1,
        )


@pytest.mark.slow
def test_a_heartbeat_is_two_reads_and_a_write(told: dict[str, Any]) -> None:
    (beats,) = (step for name, step in told["steps"].items() if "heartbeats" in name)
    assert beats["writes"] > beats["record_writes"] > 0
    assert beats["reads"] == 2 * beats["writes"]


@pytest.mark.slow
def test_the_tables_tell_what_was_counted(told: dict[str, Any]) -> None:
    text = markdown(told)
    assert "| reads | 11 + 6 x tasks + 1 x tasks² | 0 |" in text
    assert "a pass of reconcile meanwhile" in text


def test_a_fit_finds_the_factors_and_tells_its_miss() -> None:
    names = ("reads", "writes", "record_writes", "class_a", "deletes", "messages", "calls")
    more = ("class_b", "bytes_read", "bytes_written")
    runs = [
        {
            "tasks": n,
            "input_bytes": m * 1e6,
            **dict.fromkeys(names, 3 + 2 * n + n * n),
            **dict.fromkeys(more, 5 * n + m),
        }
        for n in (1, 2, 5)
        for m in (1, 4)
    ]
    runs[-1]["class_b"] += 12
    found = fits(runs)
    assert found["reads"] == {"1": 3, "tasks": 2, "tasks²": 1, "miss": 0}
    assert found["bytes_read"] == {"1": 0, "tasks": 5, "input MB": 1, "miss": 0}
    assert found["class_b"]["miss"] > 3
