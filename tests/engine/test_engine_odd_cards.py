"""Cards that no command of ours writes: each is refused at once, in our own words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobs.inference.task.models import load_model
from shared.bundles.card import CARD_NAME, MOST_LABELS, Activation
from shared.bundles.catalogue import find_model, list_models
from shared.bundles.groups import Group, check_tree
from shared.bundles.reading import MAX_CARD_BYTES
from shared.bundles.stored import card_bytes, parse_card
from shared.domain.errors import InvalidBundleError
from tests.engine.cards import make_card
from tests.fakes.blobs import MemoryBlobStore


def fault_of(**changes: object) -> str:
    """What is said of a card of three labels with these changes."""
    said: dict[str, Any] = json.loads(card_bytes(make_card(3, 2, activation=Activation.SOFTMAX))) | changes
    with pytest.raises(InvalidBundleError) as refused:
        parse_card(json.dumps(said).encode(), where="here")
    return refused.value.message


def names(*labels: str) -> list[dict[str, str]]:
    return [{"name": label} for label in labels]


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": names("a", "a", "b")},
        {"assumed_shares": [0.5, 0.5]},
        {"tree": [{"name": "g", "labels": ["a", "b"]}]},
        {"features": {}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_a_validator_of_ours_finds_is_said_without_the_words_of_pydantic(changes: dict[str, object]) -> None:
    assert "Value error" not in fault_of(**changes)


@pytest.mark.parametrize("name", ["", " ", "\n", "a\0b"], ids=repr)
def test_a_name_that_no_result_can_have_is_refused(name: str) -> None:
    assert "must have names" in fault_of(labels=names(name, "b", "c"))
    assert "must have names" in fault_of(labels=[{"name": "a", "lineage": name or "\0"}, *names("b", "c")])
    assert "must have names" in fault_of(
        labels=names("a", "b", "c"), tree=[{"name": name or "\0", "labels": ["a", "b"]}]
    )


def test_more_labels_than_any_model_has_are_refused() -> None:
    assert "labels" in fault_of(labels=names(*map(str, range(MOST_LABELS + 1))))
    assert "tree" in fault_of(tree=[{"name": "g", "labels": ["a", "b"]}] * (MOST_LABELS + 1))


def test_a_card_larger_than_any_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    store, stored = MemoryBlobStore(), card_bytes(make_card(2, 2))
    store.write("models", f"test-model/1.0.0/{CARD_NAME}", [stored])
    store.write("models", "test-model/1.0.0/weights.safetensors", [b"weights"])
    assert 10 * len(stored) < MAX_CARD_BYTES
    monkeypatch.setattr("shared.bundles.reading.MAX_CARD_BYTES", len(stored) - 1)
    for refused in (
        lambda: find_model(store, "models", "test-model"),
        lambda: load_model(store, "models", "test-model/1.0.0/", None),
    ):
        with pytest.raises(InvalidBundleError, match=rf"of {len(stored):,} bytes"):
            refused()
    assert list_models(store, "models") == []


def test_a_tree_is_checked_in_time_that_grows_with_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0

    class Counted(frozenset[str]):
        def __le__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return super().__le__(other)  # type: ignore[operator]

        __and__ = None  # type: ignore[assignment]

    monkeypatch.setattr("shared.bundles.groups.frozenset", Counted, raising=False)
    labels = {f"l{i}": None for i in range(2001)}
    pairs = [Group(name=f"g{i}", labels=(f"l{2 * i}", f"l{2 * i + 1}")) for i in range(1000)]
    whole = Group(name="all", labels=tuple(labels)[:-1])
    check_tree([*pairs, whole], labels, "Unassigned")
    assert compared == len(pairs)


def test_groups_that_cross_are_named() -> None:
    crossing = [Group(name="x", labels=("a", "b")), Group(name="y", labels=("b", "c", "d"))]
    with pytest.raises(ValueError, match=r"found \['a', 'b'\] and \['b', 'c', 'd'\]"):
        check_tree(crossing, dict.fromkeys("abcde"), "Unassigned")
