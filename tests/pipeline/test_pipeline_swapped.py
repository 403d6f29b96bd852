"""A file of the inbox that is swapped after it was found: nothing is learnt of the file that came in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from cli.console import Output
from cli.embedded import Embedded, open_embedded
from cli.inbox import SETTLE_S, Inbox
from cli.serve import ingest_file
from functions.ingest.services import Validate
from shared.bundles.card import ModelCard
from shared.domain.options import Options
from shared.domain.submission import ObjectRef, State, Submission
from shared.domain.verdict import Verdict
from shared.settings import load_settings
from tests.h5ad.h5ad_files import random_counts, write_file

Swap = Callable[[Path, Path], None]


@dataclass
class House:
    """A home whose user drops a file, and a file elsewhere that this user may not read."""

    embedded: Embedded
    inbox: Inbox
    dropped: Path
    private: Path
    now_s: float = 0.0
    told: Output = field(default_factory=Output)

    def found(self) -> list[Path]:
        """What the polls report once everything has settled."""
        self.inbox.poll(self.now_s)
        self.now_s += SETTLE_S
        return self.inbox.poll(self.now_s)

    def ingest(self, path: Path) -> bool:
        return ingest_file(self.embedded, self.inbox.dropped(path), set(), self.told)

    def records(self) -> list[Submission]:
        return [stored.value for stored in self.embedded.local.ports.store.find()]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    embedded = open_embedded(load_settings(home=tmp_path / "home"))
    dropped = embedded.layout.inbox / "day 1" / "mine.h5ad"
    dropped.parent.mkdir(parents=True)
    dropped.write_bytes(write_file(random_counts(20, 30)))
    private = tmp_path / "private" / "mine.h5ad"
    private.parent.mkdir()
    private.write_bytes(write_file(random_counts(60, 40)))
    yield House(embedded, Inbox(embedded.layout.inbox), dropped, private)
    embedded.close()


def link(dropped: Path, private: Path) -> None:
    dropped.unlink()
    dropped.symlink_to(private)


def link_of_the_folder(dropped: Path, private: Path) -> None:
    dropped.parent.rename(dropped.parent.with_name(".away"))
    dropped.parent.symlink_to(private.parent)


def another_file(dropped: Path, private: Path) -> None:
    dropped.with_name(".new").write_bytes(private.read_bytes())
    dropped.with_name(".new").replace(dropped)


SWAPS = pytest.mark.parametrize("swap", [link, link_of_the_folder, another_file])


def test_a_file_that_stays_is_judged(house: House) -> None:
    (path,) = house.found()
    assert house.ingest(path)
    (record,) = house.records()
    assert record.verdict is not None
    assert record.verdict.n_cells == 20


@SWAPS
def test_a_file_swapped_after_the_poll_is_not_judged(house: House, swap: Swap) -> None:
    (path,) = house.found()
    swap(house.dropped, house.private)
    assert house.ingest(path)
    assert house.records() == []


@SWAPS
def test_a_file_swapped_after_its_metadata_was_read_is_refused_unread(house: House, swap: Swap) -> None:
    (path,) = house.found()
    ingest = house.embedded.ingest
    house.embedded.ingest = replace(
        ingest, validate=_after(lambda: swap(house.dropped, house.private), ingest.validate)
    )
    assert house.ingest(path)
    (record,) = house.records()
    assert (record.state, record.verdict) == (State.REJECTED, None)
    assert record.failure is not None
    assert record.failure.code in {"INPUT_CHANGED", "INPUT_NOT_FOUND"}


def test_another_file_in_its_place_is_found_by_the_next_poll(house: House) -> None:
    (path,) = house.found()
    another_file(house.dropped, house.private)
    house.ingest(path)
    (again,) = house.found()
    house.ingest(again)
    (record,) = house.records()
    assert record.verdict is not None
    assert record.verdict.n_cells == 60


@pytest.mark.parametrize("swap", [link, link_of_the_folder])
def test_a_link_in_its_place_is_never_found(house: House, swap: Swap) -> None:
    house.found()
    swap(house.dropped, house.private)
    assert house.found() == []


def _after(first: Callable[[], None], validate: Validate) -> Validate:
    def late(source: ObjectRef, card: ModelCard, options: Options, others: Sequence[ModelCard]) -> Verdict:
        first()
        return validate(source, card, options, others)

    return late
