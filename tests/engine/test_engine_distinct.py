"""Models of a consensus are compared by what decides their scores."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.modeling.readable import Readable, renamed
from shared.bundles.card import CARD_NAME, Label, ModelCard, Training
from shared.bundles.distinct import check_distinct
from shared.bundles.stored import parse_card
from shared.domain.errors import InvalidOptionError
from tests.engine.cards import make_card


def imported(name: str, *labels: Label, sha256: str = "a" * 64) -> ModelCard:
    training = Training(method="imported from CellTypist", source_sha256=sha256)
    return make_card(2, 3, name=name, digest=(name[0] * 64), labels=labels, training=training)


PLAIN = Label(name="CL:0000236", ontology_id="CL:0000236"), Label(name="T")
READABLE = Label(name="B cell", ontology_id="CL:0000236", submitted="CL:0000236"), Label(name="T")


@pytest.mark.parametrize("labels", [PLAIN, READABLE])
def test_one_file_imported_twice_is_one_model_with_terms_or_without(labels: tuple[Label, ...]) -> None:
    with pytest.raises(InvalidOptionError, match="b is the same model as a"):
        check_distinct([imported("a", *PLAIN), imported("b", *labels)], ["a", "b"])


def test_imports_of_other_files_or_labels_are_different_models() -> None:
    others = (
        imported("b", *PLAIN, sha256="b" * 64),
        imported("c", Label(name="B"), Label(name="T")),
    )
    check_distinct([imported("a", *PLAIN), *others], list("abc"))


@pytest.mark.parametrize("card", [make_card(2, 3, digest="a" * 64), imported("a", Label(name="cell 0"), PLAIN[1])])
def test_a_model_with_other_names_of_its_labels_is_the_same(card: ModelCard) -> None:
    other = renamed(card, {"cell 0": Readable("B cell")}, "2").model_copy(update={"digest": "b" * 64})
    with pytest.raises(InvalidOptionError, match="two is the same model as one"):
        check_distinct([card, other], ["one", "two"])


def test_the_shipped_model_and_the_one_that_it_was_before_its_labels_were_renamed_are_the_same() -> None:
    folder = Path(__file__).resolve().parents[2] / "models/pbmc-sorted"
    cards = [parse_card((folder / one / CARD_NAME).read_bytes(), where=one) for one in ("1.1.0", "1.2.0", "1.3.0")]
    check_distinct([cards[0], cards[2]], ["1.1.0", "1.3.0"])
    with pytest.raises(InvalidOptionError, match=r"1\.2\.0 is the same model as 1\.1\.0"):
        check_distinct(cards[:2], ["1.1.0", "1.2.0"])
